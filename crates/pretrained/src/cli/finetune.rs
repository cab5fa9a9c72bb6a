//! `lm finetune`.

use std::path::PathBuf;

use analysis::{CliError, Machine};
use clap::Args;
use kernels::Device;
use terminal::{Failure, in_shell};

use super::measure::{measure_all, say_summary};
use super::work::Work;
use crate::lora::{Adapters, Finetune as Tuning, Free, Progress, finetune};
use crate::model::LanguageModel;
use crate::run_folder::{check_examples, check_lengths, examples};
use crate::{LmExperiment, LmRun, PretrainedError, Series, Tuned};

/// What to tune, and where.
#[derive(Debug, Args)]
pub struct Finetune {
    /// The folder of the run whose model and task it is
    run: PathBuf,
    /// Layers that get adapters: all, first=N or last=N [default: finetune.free, which is all]
    #[arg(long)]
    free: Option<Free>,
    /// Replace the name, or a field of the section finetune: --set finetune.samples=10000; may be given many times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    machine: Machine,
    /// Folder that runs are made in
    #[arg(long, default_value = "runs")]
    out: PathBuf,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Finetune {
    pub(super) fn run(self) -> Result<(), CliError> {
        let device = self.machine.prepare()?;
        let from = LmRun::open(&self.run)?;
        if let Some(tuned) = &from.config.tuned {
            let range = "a run of models as they were, which adapters are tuned on";
            let found = format!("one whose layers {} were tuned", tuned.free);
            return Err(Failure::from(PretrainedError::out_of_range("RUN", range, found)).into());
        }
        let tunes = |set: &&String| set.starts_with("finetune.") || set.starts_with("name=");
        if let Some(set) = self.sets.iter().find(|set| !tunes(set)) {
            let range = "a change of name or finetune: task and measurements are those of RUN";
            return Err(Failure::from(PretrainedError::out_of_range("--set", range, set)).into());
        }
        // The corpus must be what it was.
        let mut config = from.experiment()?.config.changed(&self.sets)?;
        config.finetune.free = self.free.unwrap_or(config.finetune.free);
        let free = config.finetune.free;
        config.name = format!("{}-{}", config.name, free.to_string().replace('=', "-"));
        config.tuned = Some(Tuned { run: from.name(), free });
        if config.models.len() != 1 {
            let found = format!("one of {}", config.models.len());
            return Err(Failure::from(PretrainedError::out_of_range("RUN", "a run of one model", found)).into());
        }
        let mut series = from.series().map_err(Failure::from)?;
        config.finetune.adapters(&series.last().config)?;
        let experiment = config.build()?;
        check_lengths(&experiment, &series).map_err(Failure::from)?;
        check_examples(&experiment, &series, device).map_err(Failure::from)?;
        let run = LmRun::create(&self.out, &experiment, &series)?;
        series.adapters = Some(tune(&run, &experiment, &series, device).map_err(|error| run.ended(error))?);
        measure_all(&run, &experiment, &series, device).map_err(|error| run.ended(error))?;
        say_summary(&run, self.json)
    }
}

/// Tunes adapters on the prompts to train on, from where that was stopped.
fn tune(run: &LmRun, experiment: &LmExperiment, series: &Series, device: Device) -> Result<Adapters, CliError> {
    let _lock = run.folder().lock()?;
    let work = Work::new();
    work.name("tuning");
    let config = &experiment.config;
    let model = LanguageModel::new(series.last(), device);
    let to_the_end = |_, _| true;
    let examples = examples(experiment, series, device, &to_the_end);
    let tuning = Tuning { config: &config.finetune, seed: config.seed, examples: &examples };
    let mut watch = |progress: Progress| {
        work.say(progress.step, progress.steps, format!("loss {:.3}", progress.loss));
    };
    let tuned = finetune(&model, &tuning, &run.adapter_folder()?, &mut watch, work.stop());
    tuned.map_err(|error| match Failure::from(error) {
        Failure::Interrupted(_) => {
            let path = in_shell(run.folder().path());
            Failure::Interrupted(format!("interrupted; {path} is saved, and the same command goes on from there"))
                .into()
        }
        other => other.into(),
    })
}
