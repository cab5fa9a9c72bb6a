//! One run from its first step to its report, whichever command asks for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use analysis::{CliError, Machine, MapPlan, Summary, reproduction, say_summary};
use burn::backend::Autodiff;
use clap::Args;
use model::{Device, FusedBackend, OnBackend};
use run::{BaselineRow, Environment, Experiment, MapRow, RunDir, RunError};
use signal_hook::consts::{SIGINT, SIGTERM};
use terminal::{Failure, clock, in_shell, note, program_name};

use crate::{
    Decodabilities, Errors, Observers, Origin, Outcome, Parallelism, Progress, TrainError, TrainingTable, memory, train,
};

/// How to train.
#[derive(Debug, Args)]
pub struct Job {
    #[command(flatten)]
    pub(super) machine: Machine,
    /// No progress
    #[arg(long)]
    pub(super) quiet: bool,
    /// Print the final summary as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Job {
    /// Where to train, if the experiment fits there.
    pub(super) fn prepare(&self, experiment: &Experiment) -> Result<Device, Failure> {
        let device = self.machine.prepare()?;
        memory::check(experiment, device)?;
        Ok(device)
    }

    /// Completes the run on `device` and says what it found.
    pub(super) fn run(&self, run: &RunDir, experiment: &Experiment, device: Device) -> Result<(), CliError> {
        if !self.quiet {
            note(&format!("run: {}", run.path().display()));
        }
        let (stop, started) = (stop_signal()?, Instant::now());
        let outcome = complete(run, experiment, device, self.quiet, &stop)?;
        if !self.quiet {
            note(&format!("took {}", clock(started.elapsed())));
        }
        match outcome {
            Outcome::Finished => Ok(say_summary(&Summary::read(run, experiment)?, &run.report(), self.json)?),
            Outcome::Interrupted(step) => {
                let (program, path) = (program_name(), in_shell(run.path()));
                Err(Failure::Interrupted(format!(
                    "interrupted after step {step}, everything is saved; go on with: {program} resume {path}"
                ))
                .into())
            }
        }
    }
}

/// Trains, computes what is computed once, and reports. A stage whose table is there is done.
pub(super) fn complete(
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    quiet: bool,
    stop: &AtomicBool,
) -> Result<Outcome, CliError> {
    let _lock = run.lock()?;
    if run.table::<BaselineRow>().read()?.is_empty() {
        analysis::write_baselines(run, experiment)?;
    }
    let was_trained = is_trained(run, experiment)?;
    let outcome = device.run(TrainHere { run, experiment, device, quiet, stop })?;
    if outcome == Outcome::Finished {
        if !was_trained || run.table::<MapRow>().read()?.is_empty() {
            analysis::write_map(run, experiment, &MapPlan::default(), device, |_| ())?;
        }
        analysis::write_report(run, experiment, reproduction(run, experiment))?;
    }
    Ok(outcome)
}

/// Whether [`complete`] has nothing left to do but to draw the report again.
pub(super) fn is_complete(run: &RunDir, experiment: &Experiment) -> Result<bool, RunError> {
    Ok(is_trained(run, experiment)? && !run.table::<MapRow>().read()?.is_empty() && run.report().exists())
}

fn is_trained(run: &RunDir, experiment: &Experiment) -> Result<bool, RunError> {
    Ok(run.steps()?.last() == Some(&experiment.config.train.steps))
}

/// Set by the first SIGINT or SIGTERM; the second ends the program at once.
pub(super) fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let register = || {
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
            signal_hook::flag::register(signal, stop.clone())
        };
        register().map_err(|error| Failure::Run(error.into()))?;
    }
    Ok(stop)
}

struct TrainHere<'a> {
    run: &'a RunDir,
    experiment: &'a Experiment,
    device: Device,
    quiet: bool,
    stop: &'a AtomicBool,
}

impl OnBackend for TrainHere<'_> {
    type Output = Result<Outcome, CliError>;

    fn on<B: FusedBackend>(self, device: B::Device) -> Self::Output {
        let Self { run, experiment, quiet, stop, .. } = self;
        let environment = Environment::here(self.device, rayon::current_num_threads());
        let errors = Errors::<B>::new(run, experiment, device.clone());
        let decodabilities = Decodabilities::<B> { run, experiment, device: device.clone() };
        let mut observers = Observers::<B> {
            steps: vec![Box::new(TrainingTable { run }), Box::new(Origin::new(run, environment))],
            checkpoints: vec![Box::new(errors), Box::new(decodabilities)],
        };
        if !quiet {
            let progress = Progress::new(experiment, run.steps()?.last().copied().unwrap_or(0));
            observers.checkpoints.push(Box::new(progress.decodability(run)));
            observers.steps.push(Box::new(progress));
        }
        let parallelism = Parallelism::on(self.device, experiment);
        train::<Autodiff<B>>(run, experiment, parallelism, &device, observers, stop).map_err(|error| match error {
            TrainError::Run(error) => error.into(),
            error => Failure::Run(error.into()).into(),
        })
    }
}
