//! The command line of `analysis`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use data::TaskRegistry;
use model::{Device, DeviceChoice};
use run::{BaselineRow, DecodabilityRow, Experiment, PairRow, RunDir, SeparationRow};
use terminal::{Failure, conclude, in_shell, note, program_name, say, say_json};

use crate::{Summary, readings, stages, write_report};

mod algorithms;
mod causes;
mod compare;
mod error;
mod export;
mod map;
mod positions;
mod sensitivity;
mod sites;

pub(crate) use algorithms::CompareAlgorithms;
pub(crate) use causes::{Patch, Prune, Transplant};
pub use compare::{Compare, say_sweep};
pub use error::CliError;
pub(crate) use export::Export;
pub(crate) use map::Map;
pub(crate) use positions::Positions;
pub(crate) use sensitivity::Sensitivity;
pub(crate) use sites::Sites;

/// What a run's checkpoints know: decodability, maps, reference levels, exports and the report.
#[derive(Debug, Parser)]
#[command(name = "analysis", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands on a run that is already there.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure Concept Decodability again, at every checkpoint
    Cd(OnRun),
    /// Bring the hidden states into a plane, at a few layers and checkpoints: principal components, UMAP or t-SNE
    Map(Map),
    /// Compute the errors of the closed-form predictors on the held-out prompts
    Baselines(OnRun),
    /// Compare the model's predictions with those of every closed-form predictor, at every checkpoint
    Algorithms(CompareAlgorithms),
    /// Replace hidden states by concepts' means, or steer towards them, and measure the error
    Patch(Patch),
    /// Switch off one attention head at a time, and measure the error
    Prune(Prune),
    /// Join early layers of one checkpoint to late layers of another, and measure the error
    Transplant(Transplant),
    /// Measure decodability at every pair of the prompt, beside what could be known there
    Positions(Positions),
    /// Measure how far apart the concepts' states are, and how well each two are told apart, at every checkpoint
    Separation(OnRun),
    /// Measure how Concept Decodability depends on the neighbours that vote and the number of prompts
    Sensitivity(Sensitivity),
    /// Measure decodability of what attention and feed-forward write, beside the residual stream
    Sites(Sites),
    /// Write hidden states or the model for other tools
    Export(Export),
    /// Average runs over their seeds, and compare groups of runs: error, decodability, and which of them moves first
    Compare(Compare),
    /// Draw the figures and write report.html, from the tables
    Report {
        /// The run
        #[command(flatten)]
        on: OnRun,
        /// Print the summary as JSON
        #[arg(long)]
        json: bool,
    },
}

/// A run and how to work on it.
#[derive(Debug, Args)]
pub struct OnRun {
    /// The run's folder
    run: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// What does the arithmetic.
#[derive(Clone, Copy, Debug, Args)]
pub struct Machine {
    /// Where the model runs
    #[arg(long, default_value = "flex", help = format!("Where the model runs: {}", DeviceChoice::NAMES))]
    device: DeviceChoice,
    /// Threads to use [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// The program `analysis`, for runs of the tasks in `registry`.
pub fn command_line(registry: &TaskRegistry) -> ExitCode {
    conclude(Cli::parse().command.run(registry))
}

impl Machine {
    /// Threads to use.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }

    /// Makes the threads and finds the device; call it once, before any work.
    ///
    /// # Errors
    /// When the system has no room for the threads, or the device does not answer.
    pub fn prepare(&self) -> Result<Device, Failure> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads()).build_global();
        pool.map_err(|error| Failure::threads(self.threads(), error))?;
        self.device()
    }

    /// The device, which has answered. What `auto` picks is noted.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn device(&self) -> Result<Device, Failure> {
        match self.device {
            DeviceChoice::Named(device) => device.check().map_err(|error| Failure::Run(error.into())),
            DeviceChoice::Auto => {
                let device = Device::auto();
                note(&format!("device: {device}"));
                Ok(device)
            }
        }
    }
}

impl Command {
    /// Does what the command says.
    ///
    /// # Errors
    /// When the request is wrong, or what it asks for fails.
    pub fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        match self {
            Self::Cd(on) => {
                let (run, experiment, device) = on.open(registry)?;
                let _lock = run.lock()?;
                stages::write_decodability(&run, &experiment, device, |step| note(&format!("step {step}")))?;
                say_path(run.table::<DecodabilityRow>().path())
            }
            Self::Map(map) => say_path(&map.run(registry)?),
            Self::Baselines(on) => {
                let (run, experiment, _) = on.open(registry)?;
                let _lock = run.lock()?;
                stages::write_baselines(&run, &experiment)?;
                say_path(run.table::<BaselineRow>().path())
            }
            Self::Algorithms(compare) => say_path(&compare.run(registry)?),
            Self::Patch(patch) => say_path(&patch.run(registry)?),
            Self::Prune(prune) => say_path(&prune.run(registry)?),
            Self::Transplant(transplant) => say_path(&transplant.run(registry)?),
            Self::Positions(positions) => say_path(&positions.run(registry)?),
            Self::Separation(on) => {
                let (run, experiment, device) = on.open(registry)?;
                let concepts = experiment.task.concepts().len();
                if concepts < 2 {
                    let refusal = anyhow::anyhow!("the concepts to separate must be at least 2, but are {concepts}");
                    return Err(Failure::Request(refusal).into());
                }
                let _lock = run.lock()?;
                let progress = |step| note(&format!("step {step}"));
                readings::write_separation(&run, &experiment, device, progress)?;
                say_path(run.table::<SeparationRow>().path())?;
                say_path(run.table::<PairRow>().path())
            }
            Self::Sensitivity(sensitivity) => say_path(&sensitivity.run(registry)?),
            Self::Sites(sites) => say_path(&sites.run(registry)?),
            Self::Export(export) => say_path(&export.run(registry)?),
            Self::Compare(compare) => compare.run(registry),
            Self::Report { on, json } => {
                let (run, experiment, _) = on.open(registry)?;
                let _lock = run.lock()?;
                let path = write_report(&run, &experiment, reproduction(&run, &experiment))?;
                Ok(say_summary(&Summary::read(&run, &experiment)?, &path, json)?)
            }
        }
    }
}

fn say_path(path: &Path) -> Result<(), CliError> {
    Ok(say(&path.display().to_string())?)
}

/// Prints a summary and where the report lies, for a person or for a program.
///
/// # Errors
/// When it does not arrive, or a number has no JSON.
pub fn say_summary(summary: &Summary, report: &Path, json: bool) -> Result<(), Failure> {
    if json { say_json(summary) } else { say(&format!("{}report: {}", summary.to_text(), report.display())) }
}

/// Commands that repeat a run, one a line.
pub fn reproduction(run: &RunDir, experiment: &Experiment) -> Vec<String> {
    // `trainer` and `analysis` share a run's commands between them; every other program has them all.
    let program = match program_name().as_str() {
        "trainer" | "analysis" => "emergence".to_owned(),
        other => other.to_owned(),
    };
    let path = in_shell(run.path());
    // What a run continues from lies in its folder, so that it can only be made there.
    let parent = run.path().parent().filter(|_| experiment.config.finetune.is_some());
    let beside = parent.map_or(String::new(), |parent| format!(" --out {}", in_shell(parent)));
    vec![
        format!("cargo run -p {program} -- train {}{beside}", in_shell(&run.path().join("config.toml"))),
        format!("cargo run -p {program} -- cd {path}"),
        format!("cargo run -p {program} -- report {path}"),
    ]
}

impl OnRun {
    fn open(&self, registry: &TaskRegistry) -> Result<(RunDir, Experiment, Device), CliError> {
        let run = RunDir::open(&self.run)?;
        let experiment = run.experiment(registry)?;
        Ok((run, experiment, self.machine.prepare()?))
    }
}

fn check_layers(flag: &str, layers: &[usize], experiment: &Experiment) -> Result<(), Failure> {
    let last = experiment.architecture.n_layers;
    match layers.iter().max() {
        Some(&layer) if layer > last => Err(Failure::Request(anyhow::anyhow!(
            "{flag} must be between 0 and model.n_layers ({last}), but is {layer}"
        ))),
        _ => Ok(()),
    }
}

/// Ascending, each once.
fn sorted(mut numbers: Vec<usize>) -> Vec<usize> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
