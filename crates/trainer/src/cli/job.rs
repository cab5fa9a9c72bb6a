//! One run from its first step to its report, whichever command asks for it.

use std::time::Instant;

use analysis::{
    BaselineRow, Baselines, CliError, Entry, LIVE, Machine, MapRow, Projections, Shown, measure_now, report_run,
    say_summary,
};
use clap::Args;
use data::{Legend, Role};
use model::{Device, Kernels, OnBackend};
use record::{Lock, Made, Row, has_rows};
use run::{Config, Environment, Experiment, RunDir, RunError, Work};
use terminal::{Failure, Stop, clock, in_shell, note, program_name, stop_signal};

use crate::{
    EarlyEnd, Headline, LiveMeasurements, LiveReport, Observers, Origin, Outcome, Parallelism, Progress, Provenance,
    TrainError, TrainingRow, TrainingTable, train,
};

/// How to train.
#[derive(Debug, Args)]
pub struct Job {
    #[command(flatten)]
    pub(super) machine: Machine,
    /// Print no progress
    #[arg(long)]
    pub(super) quiet: bool,
    /// Print the final summary as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Job {
    /// The same as words of a command line; a progress that nobody watches is left out.
    pub(super) fn to_words(&self) -> Vec<String> {
        let mut words = self.machine.to_words();
        words.push("--quiet".to_owned());
        words
    }

    /// Where to train, if the experiment fits there.
    pub(super) fn prepare(&self, experiment: &Experiment) -> Result<Device, CliError> {
        let device = self.machine.prepare()?;
        experiment.check_memory(Work::Training, device, self.machine.threads(), 1)?;
        Ok(device)
    }

    /// Completes the run on `device` and says what it found.
    pub(super) fn run(&self, run: &RunDir, experiment: &Experiment, device: Device) -> Result<(), CliError> {
        let lock = run.lock()?;
        if !self.quiet {
            note(&format!("run: {}", run.path().display()));
            let legend = Legend::of(experiment.study.task.pairs().as_ref());
            let best = legend.with_role(Role::Optimal).map_or("", |_| " (to 1 × optimal at best)");
            note(&format!("while it learns, the error falls{best} and CD rises above chance"));
            note(&format!("figures, kept up to date from the first minute on: {}", run.report().display()));
        }
        let (stop, started) = (stop_signal(), Instant::now());
        let go_on = format!("go on with: {} resume {}", program_name(), in_shell(run.path()));
        stop.on_exit_say(format!("interrupted, the last checkpoint is saved; {go_on}"));
        let outcome = complete(run, &lock, experiment, device, self.quiet, &stop)?;
        if !self.quiet {
            note(&format!("took {}", clock(started.elapsed())));
            run.ended()?.iter().for_each(|ended| note(&ended.to_string()));
        }
        match outcome {
            Outcome::Finished => say_summary(run, &Legend::of(experiment.study.task.pairs().as_ref()), self.json),
            Outcome::Interrupted(step) => {
                Err(Failure::Interrupted(format!("interrupted after step {step}, everything is saved; {go_on}")).into())
            }
        }
    }
}

/// Trains, computes what is computed once, and reports. What is done already is left out, so that a run which was stopped
/// anywhere comes to the same end. The run's folder notes a failure.
///
/// # Errors
/// When the run cannot be read or written, or training cannot go on.
pub fn complete(
    run: &RunDir,
    _lock: &Lock,
    experiment: &Experiment,
    device: Device,
    quiet: bool,
    stop: &Stop,
) -> Result<Outcome, CliError> {
    // Who is refused has left everything as it was.
    run.note_generator(experiment)?;
    run.note_failure(None)?;
    let outcome = complete_here(run, experiment, device, quiet, stop);
    if let Err(error) = &outcome {
        // Where the disk is what failed, nothing can be noted; the error itself is told by whoever asked.
        let _ = run.note_failure(Some(&error.to_string()));
    }
    outcome
}

fn complete_here(
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    quiet: bool,
    stop: &Stop,
) -> Result<Outcome, CliError> {
    for (kept, reason) in run.set_damaged_aside(experiment)? {
        note(&format!("{reason}; it is kept as {}, and training goes on from the one before", kept.display()));
    }
    let legend = Legend::of(experiment.study.task.pairs().as_ref());
    // Runs of older programs have none.
    run.folder().write_toml(Legend::FILE, &legend)?;
    // Before the first checkpoint nothing says whether they were finished.
    if run.steps()?.is_empty() || run.table::<BaselineRow>().read()?.is_empty() {
        measure_now(&Entry::of::<Baselines>(), run, experiment, device, || Ok(()))?;
    }
    for entry in unmeasured(run, &experiment.config)? {
        measure_now(entry, run, experiment, device, || Ok(()))?;
    }
    let was_trained = is_trained(run, &experiment.config)?;
    if !was_trained {
        forget_map(run)?;
    }
    let outcome = device.run(TrainHere { run, experiment, legend: &legend, device, quiet, stop })?;
    // What made the map is noted last of all, so that a run with such a note has its report.
    let report = || report_run(run, &legend);
    match outcome == Outcome::Finished && !is_mapped(run)? {
        true => measure_now(&Entry::of::<Projections>(), run, experiment, device, report)?,
        false => report()?,
    }
    Ok(outcome)
}

/// Whether [`complete`] has nothing left to do but to draw the same report again.
pub(super) fn is_complete(run: &RunDir, config: &Config) -> Result<bool, RunError> {
    let is_measured = is_trained(run, config)? && unmeasured(run, config)?.is_empty() && is_mapped(run)?;
    Ok(is_measured && run.report().exists())
}

/// Makes the map one that has to be drawn again: training is to go on.
fn forget_map(run: &RunDir) -> Result<(), RunError> {
    let mut made = Made::read(run.folder())?;
    if made.tables.remove(MapRow::FILE).is_some() {
        made.write(run.folder())?;
    }
    Ok(())
}

/// Whether the map is there, and what made it is noted. Of runs that an older program trained nothing is.
fn is_mapped(run: &RunDir) -> Result<bool, RunError> {
    let noted = Made::read(run.folder())?.tables;
    let is_noted = noted.contains_key(MapRow::FILE) || !noted.contains_key(TrainingRow::FILE);
    Ok(is_noted && !run.table::<MapRow>().read()?.is_empty())
}

/// What training measured at the checkpoints that are there, and whose table is not: measuring again was interrupted.
fn unmeasured(run: &RunDir, config: &Config) -> Result<Vec<&'static Entry>, RunError> {
    if !run.steps()?.into_iter().any(|step| config.checkpoints.is_due(step, config.train.steps)) {
        return Ok(Vec::new());
    }
    let has_rows = |file: &str| has_rows(&run.path().join(file));
    let is_missing = |entry: &&Entry| !(entry.tables)(run.folder()).iter().all(|table| has_rows(table.file()));
    Ok(LIVE.iter().map(|live| &live.entry).filter(is_missing).collect())
}

fn is_trained(run: &RunDir, config: &Config) -> Result<bool, RunError> {
    Ok(run.steps()?.last() == Some(&run.end(config)?))
}

struct TrainHere<'a> {
    run: &'a RunDir,
    experiment: &'a Experiment,
    legend: &'a Legend,
    device: Device,
    quiet: bool,
    stop: &'a Stop,
}

impl OnBackend for TrainHere<'_> {
    type Output = Result<Outcome, CliError>;

    fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
        let Self { run, experiment, legend, quiet, stop, .. } = self;
        let environment = Environment::here(self.device, rayon::current_num_threads());
        let (shown, headline) = (Shown { folder: run.folder(), legend }, Headline::default());
        let live = LiveMeasurements { study: &experiment.study, shown, headline: headline.clone() };
        // A report that cannot be drawn, be it that the configuration is being edited, costs no training.
        let report = LiveReport::new(|| {
            if let Err(error) = report_run(run, legend) {
                note(&format!("report.html is not up to date, training goes on: {error}"));
            }
        });
        let mut observers = Observers {
            steps: vec![Box::new(TrainingTable { run }), Box::new(Origin::new(run, environment))],
            checkpoints: vec![
                Box::new(live),
                Box::new(Provenance { run, experiment, device: self.device }),
                Box::new(report),
            ],
        };
        if let Some(until) = experiment.config.train.until {
            observers.checkpoints.push(Box::new(EarlyEnd { run, until, shown }));
        }
        if !quiet {
            observers.steps.push(Box::new(Progress::new(experiment, headline)));
        }
        let parallelism = Parallelism::on(self.device, experiment);
        train::<B>(run, experiment, parallelism, &device, observers, stop).map_err(|error| match error {
            TrainError::Run(error) => error.into(),
            TrainError::Measure(error) => error.into(),
            TrainError::Task(error) => error.into(),
            error => Failure::Run(error.into()).into(),
        })
    }
}
