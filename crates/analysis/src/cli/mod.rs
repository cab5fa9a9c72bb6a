//! The command line of `analysis`: it alone brings runs on disk, our models and the terminal to the library.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use data::{Legend, TaskRegistry};
use model::{Device, DeviceChoice};
use record::leave;
use run::{Experiment, RunDir, Work};
use terminal::{Failure, conclude, listen, note, parse, say, say_json};

use crate::{Shown, Summary};

mod compare;
mod error;
mod explore;
mod export;
mod listed;
mod measure;
mod overrides;
mod report;

pub use compare::{Compare, compared, note_unfinished, say_sweep};
pub use error::CliError;
pub use explore::{Explore, PageArgs, explored};
pub use export::Export;
pub use listed::{Common, Listed};
pub use measure::{MeasureCommand, OfRun, Remeasure, measure_now, note_trained};
pub use overrides::Overrides;
pub use report::{legend_of, report_run};

/// Measure the checkpoints of a run, compare runs, export hidden states, and draw the report.
#[derive(Debug, Parser)]
#[command(name = "analysis", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    allowed: Allowed,
}

/// The commands on a run that is already there.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A measurement of the list
    #[command(flatten)]
    Measure(MeasureCommand),
    /// Measure again with other settings of eval and probe; trains nothing
    ///
    /// Makes every table anew that training made, from the checkpoints. Tables of all other measurements are removed, since
    /// they were made with the old settings.
    Remeasure(Remeasure),
    /// Write hidden states or the model for other tools
    Export(Export),
    /// Average runs over their seeds, and compare groups of runs
    ///
    /// By error, decodability, and which of them moves first.
    Compare(Compare),
    /// Write a page to play with: states that move, CD and error
    ///
    /// It has a slider over checkpoints, is one file, and opens offline.
    Explore(Explore),
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
#[derive(Clone, Debug, Args)]
pub struct OnRun {
    /// The run's folder
    run: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// Which programs of others may be started.
#[derive(Clone, Copy, Debug, Args)]
pub struct Allowed {
    /// Let a configuration start the program that its task.command names
    #[arg(long, global = true)]
    allow_process: bool,
}

impl Allowed {
    /// The tasks of `registry` as far as they are allowed.
    pub fn of(self, registry: &TaskRegistry) -> TaskRegistry {
        if self.allow_process { registry.clone().allowing_processes() } else { registry.clone() }
    }
}

/// What does the arithmetic.
#[derive(Clone, Copy, Debug, Args)]
pub struct Machine {
    /// Where the model runs
    #[arg(long, default_value = "flex", help = format!("Where the model runs: {}", DeviceChoice::NAMES))]
    device: DeviceChoice,
    /// Threads to use [default: one for every core]
    #[arg(long, value_parser = terminal::whole::<u16>(1, Some(1024)))]
    threads: Option<u16>,
}

/// The program `analysis`, for runs of the tasks in `registry`.
pub fn command_line(registry: &TaskRegistry) -> ExitCode {
    let Cli { command, allowed } = parse(std::env::args_os());
    conclude(listen(leave).map_err(CliError::from).and_then(|()| command.run(&allowed.of(registry))))
}

impl Machine {
    /// Threads to use.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }

    /// The same as words of a command line.
    pub fn to_words(&self) -> Vec<String> {
        let mut words = vec!["--device".to_owned(), self.device.to_string()];
        words.extend(self.threads.iter().flat_map(|threads| ["--threads".to_owned(), threads.to_string()]));
        words
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
            Self::Measure(measure) => measure.run(registry),
            Self::Remeasure(remeasure) => remeasure.run(registry),
            Self::Export(export) => Ok(say_path(&export.run(registry)?)?),
            Self::Compare(compare) => compare.run(registry),
            Self::Explore(explore) => Ok(say_path(&explore.run(registry)?)?),
            Self::Report { on, json } => {
                let run = RunDir::open(&on.run)?;
                let legend = legend_of(&run, registry)?;
                let drawn = run.lock().map_err(CliError::from).and_then(|_lock| report_run(&run, &legend));
                CliError::unless_of_writing(drawn)?;
                Ok(say_summary(&run, &legend, json)?)
            }
        }
    }
}

fn say_path(path: &Path) -> Result<(), Failure> {
    say(&path.display().to_string())
}

/// Prints what a run found and where its report lies, for a person or for a program.
///
/// # Errors
/// When a table cannot be read, what is said does not arrive, or a number has no JSON.
pub fn say_summary(run: &RunDir, legend: &Legend, json: bool) -> Result<(), CliError> {
    let summary = Summary::read(&Shown { folder: run.folder(), legend })?;
    let said = match json {
        true => say_json(&summary),
        false => say(&format!("{}report: {}", summary.to_text(), run.report().display())),
    };
    Ok(said?)
}

impl OnRun {
    fn open(&self, registry: &TaskRegistry) -> Result<(RunDir, Experiment, Device), CliError> {
        let run = RunDir::open(&self.run)?;
        let experiment = run.experiment(registry)?;
        experiment.check_memory(Work::Measuring, Device::Flex, self.machine.threads(), 1)?;
        Ok((run, experiment, self.machine.prepare()?))
    }
}
