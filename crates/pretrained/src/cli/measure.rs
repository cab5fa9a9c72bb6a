//! `lm measure`, and one command for every other measurement of a run.

use std::path::{Path, PathBuf};

use analysis::{
    Accuracy, CliError, Common, Decodability, Entry, Listed, Machine, Needs, Overrides, Shown, Summary, cd_accuracy,
};
use clap::Args;
use kernels::Device;
use record::Seal;
use terminal::{Failure, note, program_name, say, say_json};

use super::work::Work;
use crate::cost::Cost;
use crate::run_folder::check_lengths;
use crate::subject::tokens_at_once;
use crate::{LmConfig, LmExperiment, LmRun, Series};

/// What `lm measure` measures, in this order.
const MEASURED: [Entry; 2] = [Entry::of::<Accuracy>(), Entry::of::<Decodability>()];

/// What to measure on which models.
#[derive(Debug, Args)]
pub struct Measure {
    /// Preset (bitwise, part-of-speech) or TOML file
    config: String,
    /// A folder with config.json, tokenizer.json and *.safetensors; given several times, steps of one training, whose
    /// folders' names have step and a number
    #[arg(long = "model", value_name = "FOLDER")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    machine: Machine,
    /// Folder that runs are made in
    #[arg(long, default_value = "runs")]
    out: PathBuf,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Measure {
    pub(super) fn run(self) -> Result<(), CliError> {
        // Before anything else, because whatever works in parallel would start the threads itself.
        let device = self.machine.prepare()?;
        let sets = self.overrides.sets()?;
        let mut config = LmConfig::resolve(&self.config, &sets)?;
        if !self.models.is_empty() {
            config.models = self.models.clone();
        }
        // The configuration of a run that is there names that run as it stands.
        let file = Path::new(&self.config);
        let of_a_run = file.is_file() && file.with_file_name(Seal::FILE).exists();
        if !(of_a_run && sets.is_empty() && self.models.is_empty()) {
            config.name_paths_wholly().map_err(Failure::from)?;
        }
        let mut series = Series::open(&config.models).map_err(Failure::from)?;
        let experiment = config.build()?;
        check_lengths(&experiment, &series).map_err(Failure::from)?;
        expected(&experiment, &series)?.check_memory(device).map_err(Failure::from)?;
        let run = LmRun::create(&self.out, &experiment, &series)?;
        run.read_adapters(&mut series).map_err(|error| run.ended(Failure::from(error).into()))?;
        measure_all(&run, &experiment, &series, device).map_err(|error| run.ended(error))?;
        say_summary(&run, self.json)
    }
}

/// Makes what is missing of the usual measurements, and the report.
pub(super) fn measure_all(
    run: &LmRun,
    experiment: &LmExperiment,
    series: &Series,
    device: Device,
) -> Result<(), CliError> {
    let _lock = run.folder().lock()?;
    let path = run.folder().path();
    let work = Work::new();
    let again = format!("{} {}", program_name(), run.measure_again());
    work.stop().on_exit_say(interrupted(&again));
    let watch = |done, total| work.watch(done, total);
    let subjects = series.asked(experiment, device, &watch);
    note(&format!("{}: about {}", path.display(), expected(experiment, series)?));
    for entry in &MEASURED {
        if run.has(entry, device)? {
            note(&format!("{}: already there", entry.name));
            continue;
        }
        work.name(entry.name);
        run.measure(entry, &entry.defaults(), &experiment.study, &subjects, device)
            .map_err(|error| stopped(error, &again))?;
        run.report()?;
    }
    run.report()?;
    Ok(())
}

/// What all that is measured takes, from the tokens of a few of its prompts.
fn expected(experiment: &LmExperiment, series: &Series) -> Result<Cost, CliError> {
    let study = &experiment.study;
    let some = study.balanced(data::Purpose::Eval, 0, 1)?;
    let written = some.text().iter().map(|prompt| experiment.text.template.write(prompt).text);
    let tokens = written.map(|text| Ok(series.last().tokens.encode(&text)?.ids.len()));
    let tokens: usize = tokens.sum::<Result<usize, crate::PretrainedError>>().map_err(Failure::from)?;
    // Resamples pass once as they are and once through the untrained model; permuted answers once for each number of
    // demonstrations from two on, up to its query.
    let points = study.n_points() as f64;
    let permuted: f64 =
        experiment.text.shots.iter().filter(|shots| **shots >= 2).map(|&k| (k + 1) as f64 / points).sum();
    let resamples = study.probe.prompts_per_concept as f64 * study.probe.resamples as f64;
    let models = series.models().count() as f64;
    let passes = models * (study.eval.prompts_per_concept as f64 + resamples * (1.0 + permuted)) + resamples;
    let of_resample = tokens * study.probe.prompts_per_concept;
    let of_resamples =
        (of_resample * study.probe.resamples).min(tokens_at_once(&series.last().config).max(of_resample));
    // Accuracy sends all its prompts through together.
    let at_once = of_resamples.max(tokens * study.eval.prompts_per_concept);
    Ok(Cost::of(&series.last().config, at_once).times(passes * tokens as f64 / at_once as f64))
}

/// What an interruption says; `again` is the command to go on with.
fn interrupted(again: &str) -> String {
    format!(
        "interrupted; finished tables are kept, and so are the models that were measured for the one at work. To go on: {again}"
    )
}

/// An interruption, with how to go on.
fn stopped(error: CliError, again: &str) -> CliError {
    match Failure::from(error) {
        Failure::Interrupted(_) => Failure::Interrupted(interrupted(again)).into(),
        other => other.into(),
    }
}

/// Prints what was found and where the report lies.
pub(super) fn say_summary(run: &LmRun, json: bool) -> Result<(), CliError> {
    let legend = run.legend()?;
    let shown = Shown { folder: run.folder(), legend: &legend };
    let summary = Summary::read(&shown)?;
    if json {
        return Ok(say_json(&summary)?);
    }
    say(summary.to_text().trim_end())?;
    if let Some(found) = cd_accuracy(&shown)? {
        say(&format!(
            "CD against accuracy: R² {:.2} [{:.2}, {:.2}], rank correlation {:.2}, over {} points",
            found.r_squared, found.lo, found.hi, found.spearman, found.n
        ))?;
    }
    Ok(say(&format!("report: {}", run.folder().path().join(record::REPORT).display()))?)
}

/// A measurement of the list on a run of language models.
pub(super) type OnRun = Listed<OfRun>;

/// The run, and how to work on it.
#[derive(Clone, Debug, Args)]
pub struct OfRun {
    /// The run's folder
    run: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

impl Common for OfRun {
    fn has(needs: Needs) -> bool {
        needs != Needs::Numbers
    }
}

/// Measures, brings the report up to date, and says where the tables are.
pub(super) fn on_run(Listed { entry, common, options }: OnRun) -> Result<(), CliError> {
    let device = common.machine.prepare()?;
    let run = LmRun::open(&common.run)?;
    let (experiment, series) = (run.experiment()?, run.series().map_err(Failure::from)?);
    let _lock = run.folder().lock()?;
    let work = Work::new();
    work.name(entry.name);
    let watch = |done, total| work.watch(done, total);
    let subjects = series.asked(&experiment, device, &watch);
    let paths = run.measure(entry, &options, &experiment.study, &subjects, device);
    let paths = paths.map_err(|error| stopped(error, "the same command"))?;
    run.report()?;
    Ok(paths.iter().try_for_each(|path| say(&path.display().to_string()))?)
}
