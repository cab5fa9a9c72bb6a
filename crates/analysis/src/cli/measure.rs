//! The commands of the list of measurements, and `remeasure`.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use data::TaskRegistry;
use model::Device;
use probe::ProbeKind;
use record::{AnyTable, Folder, Made, Maker, RecordError, Row};
use run::{Checkpoints, Experiment, RunDir, RunError, Work};
use terminal::{note, patient_note, stop_signal};
use toml::Table;

use crate::cli::{CliError, Common, Listed, OnRun, compared, legend_of, report_run, say_path};
use crate::{ALL, Baselines, BestLayerRow, Entry, LIVE, MetricRow, Needs, Projections, Session, write_comparison};

/// A measurement of the list on a run.
pub type MeasureCommand = Listed<OfRun>;

/// The run, and what it is asked about.
#[derive(Debug, Args)]
pub struct OfRun {
    #[command(flatten)]
    on: OnRun,
    /// Ask the models about the task in a TOML file, whose fields are laid over the run's: task.noise_variance = 0.5
    ///
    /// The file has the section [task], and may have [eval] and [probe]. Tables, figures and a report go to RUN/on/NAME, where
    /// NAME is that of the file.
    #[arg(long, value_name = "FILE")]
    task: Option<PathBuf>,
}

impl Common for OfRun {
    fn has(_: Needs) -> bool {
        true
    }

    /// Of answers that are text, a run of numbers can only be told that it has none.
    fn shows(needs: Needs) -> bool {
        needs != Needs::Scores
    }
}

impl MeasureCommand {
    /// Measures, brings the report up to date, and says where the tables are.
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        let (run, experiment, device) = self.common.on.open(registry)?;
        let kept =
            "interrupted; tables are as they were, and the same command goes on with the checkpoints that are left";
        stop_signal().on_exit_say(kept.to_owned());
        if let Some(file) = &self.common.task {
            return self.ask(file, &run, &experiment, device, registry);
        }
        let legend = legend_of(&run, registry)?;
        let (paths, _lock) = measure(self.entry, &self.options, &run, &experiment, device, || run.lock(), || Ok(()))?;
        report_run(&run, &legend)?;
        Ok(paths.iter().try_for_each(|path| say_path(path))?)
    }

    /// The same on another task, in a folder of its own; once that has errors and decodability, beside the run itself.
    fn ask(
        &self,
        file: &Path,
        home: &RunDir,
        experiment: &Experiment,
        device: Device,
        registry: &TaskRegistry,
    ) -> Result<(), CliError> {
        let other = home.other_task(experiment, file, registry)?;
        other.check_memory(Work::Measuring, Device::Flex, self.common.on.machine.threads(), 1)?;
        let (note, subjects) = (patient_note(), Checkpoints::new(home, experiment, device));
        let progress = |text: &str| note(text);
        let mut session = Session::new(&other.study, &subjects, home.folder(), &progress);
        // What is refused makes no folder. The lock of the run is that of all inside it.
        (self.entry.plan)(&self.options, &session)?;
        let lock = home.lock()?;
        let place = home.place_of(&lock, &other, file)?;
        session.folder = place.folder();
        let planned = (self.entry.plan)(&self.options, &session)?;
        let maker = maker(self.entry.name, planned.options.clone(), &other, device);
        let paths = planned.make(&maker, || Ok::<_, CliError>(()))?;
        report_run(&place, &legend_of(&place, registry)?)?;
        beside_home(&place, home, registry)?;
        Ok(paths.iter().try_for_each(|path| say_path(path))?)
    }
}

/// Compares what a run was asked about another task with the run itself, as soon as both have what is compared.
fn beside_home(place: &RunDir, home: &RunDir, registry: &TaskRegistry) -> Result<(), CliError> {
    let has = |run: &RunDir, file: &str| run.path().join(file).exists();
    let is_whole = |run: &RunDir| [MetricRow::FILE, BestLayerRow::FILE].iter().all(|file| has(run, file));
    if !is_whole(place) || !is_whole(home) {
        return Ok(());
    }
    let both = [home, place].map(|run| compared(run, &run.config()?, registry));
    let both = both.into_iter().collect::<Result<Vec<_>, _>>()?;
    let out = Folder::create(&place.path().join("compare"))?;
    write_comparison(&both, ProbeKind::CD, &out)?;
    terminal::note(&format!("beside the task that it was trained on: {}", out.path().display()));
    Ok(())
}

/// Plans with the options in `matches`, then measures, writes the tables, does what comes `behind` them, and notes what made
/// them. Once it is planned the caller locks the run, or has it locked already; what `lock` gives is returned with the paths
/// of the tables.
fn measure<L>(
    entry: &Entry,
    matches: &ArgMatches,
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    lock: impl FnOnce() -> Result<L, RunError>,
    behind: impl FnOnce() -> Result<(), CliError>,
) -> Result<(Vec<PathBuf>, L), CliError> {
    let (note, subjects) = (patient_note(), Checkpoints::new(run, experiment, device));
    let progress = |text: &str| note(text);
    let session = Session::new(&experiment.study, &subjects, run.folder(), &progress);
    let planned = (entry.plan)(matches, &session)?;
    let lock = lock()?;
    let maker = maker(entry.name, planned.options.clone(), experiment, device);
    Ok((planned.make(&maker, behind)?, lock))
}

/// Notes what makes the tables that training writes, `more` beside those that can be measured again.
///
/// # Errors
/// When the disk fails.
pub fn note_trained(
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    more: Box<dyn AnyTable>,
) -> Result<(), RecordError> {
    let before = Made::read(run.folder())?;
    let mut made = before.clone();
    let tables: Vec<_> = LIVE.iter().flat_map(|live| (live.entry.tables)(run.folder())).chain([more]).collect();
    made.note(run.folder(), &tables, &maker("train", Table::new(), experiment, device));
    if made == before { Ok(()) } else { made.write(run.folder()) }
}

/// What is noted of tables that `command` makes.
fn maker(command: &str, options: Table, experiment: &Experiment, device: Device) -> Maker {
    let config = &experiment.config;
    let settings = [("eval", Table::try_from(&config.eval)), ("probe", Table::try_from(&config.probe))];
    let settings = settings
        .into_iter()
        .map(|(name, section)| (name.to_owned(), section.expect("a checked configuration is TOML").into()));
    Maker {
        options,
        settings: settings.collect(),
        facts: [("device".to_owned(), device.to_string())].into(),
        ..Maker::this_program(command)
    }
}

/// Makes a measurement with its default options on a run that the caller has locked. What made its tables is noted last, when
/// they are written and what comes `behind` them is done.
///
/// # Errors
/// When it is refused or fails, or what comes behind it does.
pub fn measure_now(
    entry: &Entry,
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    behind: impl FnOnce() -> Result<(), CliError>,
) -> Result<(), CliError> {
    measure(entry, &entry.defaults(), run, experiment, device, || Ok(()), behind).map(drop)
}

/// What to measure again.
#[derive(Debug, Args)]
pub struct Remeasure {
    #[command(flatten)]
    on: OnRun,
    /// Replace a field of the sections eval and probe: --set probe.neighbours=20; may be given many times
    #[arg(long = "set", value_name = "PATH=VALUE", required = true)]
    sets: Vec<String>,
}

impl Remeasure {
    /// Makes the settings those of the run, and every table that training made anew, from the checkpoints. The tables of
    /// other measurements, and what the run was asked about other tasks, were made with the old settings and go, unless
    /// nothing changes. A setting by which nothing is measured, such as the name, leaves all as it is. Where this is
    /// interrupted, the same command or `resume` makes what is missing.
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        let run = RunDir::open(&self.on.run)?;
        let experiment = run.with_sets(&self.sets, registry)?;
        experiment.check_memory(Work::Measuring, Device::Flex, self.on.machine.threads(), 1)?;
        let legend = legend_of(&run, registry)?;
        let device = self.on.machine.prepare()?;
        let lock = run.lock()?;
        // What cannot be read could not be measured again, and nothing is emptied.
        for step in run.scheduled_steps(&experiment)? {
            run.checkpoint(&experiment, step)?;
        }
        let again = "interrupted; some tables are missing yet; go on with the same command".to_owned();
        stop_signal().on_exit_say(again);
        let before = run.config()?;
        if before.measures_as(&experiment.config) && before != experiment.config {
            run.rename(&lock, &experiment)?;
        } else {
            if before != experiment.config {
                let tables: Vec<_> = ALL.iter().flat_map(|entry| (entry.tables)(run.folder())).collect();
                run.remeasure(&lock, &experiment, &tables)?;
                if let Some(exports) = run.exports() {
                    note(&format!("{} is as it was exported, with the settings before", exports.display()));
                }
            }
            measure_trained(&run, &experiment, device)?;
        }
        report_run(&run, &legend)?;
        Ok(say_path(&run.report())?)
    }
}

/// Makes every table that a finished training has. Wherever this stops, those that are not made yet count as missing.
fn measure_trained(run: &RunDir, experiment: &Experiment, device: Device) -> Result<(), CliError> {
    let live = LIVE.iter().map(|live| live.entry);
    let entries: Vec<_> =
        [Entry::of::<Baselines>()].into_iter().chain(live).chain([Entry::of::<Projections>()]).collect();
    let tables = entries.iter().flat_map(|entry| (entry.tables)(run.folder()));
    let files: Vec<&str> = tables.map(|table| table.file()).collect();
    let mut made = Made::read(run.folder())?;
    made.tables.retain(|file, _| files.contains(&file.as_str()) || run.path().join(file).exists());
    made.write(run.folder())?;
    entries.iter().try_for_each(|entry| measure_now(entry, run, experiment, device, || Ok(())))
}
