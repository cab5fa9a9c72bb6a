//! The command line of `trainer`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use analysis::{Failure, Machine, Summary, conclude, note, program_name, say, say_summary};
use burn::backend::Autodiff;
use clap::{Args, Parser, Subcommand};
use data::TaskRegistry;
use model::{Device, FusedBackend, OnBackend};
use run::{BaselineRow, Config, Environment, Experiment, MapRow, PRESETS, RunDir, Source};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    BenchResult, Decodabilities, Errors, Observer, Outcome, Progress, TrainError, TrainingTable, bench, train,
};

/// Train a small transformer on an in-context-learning task and watch it encode the latent concept.
#[derive(Debug, Parser)]
#[command(name = "trainer", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// The commands that train.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train, from a preset or a file, or go on with the same run where it stopped
    Train {
        /// Preset or TOML file
        #[arg(help = format!("Preset ({}) or TOML file", PRESETS.map(|(name, _)| name).join(", ")))]
        #[arg(default_value = "quickstart")]
        config: String,
        /// Changes to it
        #[command(flatten)]
        change: Change,
        /// How to train
        #[command(flatten)]
        job: Job,
        /// Folder that runs are made in
        #[arg(long, default_value = "runs")]
        out: PathBuf,
    },
    /// Go on with a run that was stopped
    Resume {
        /// The run's folder
        run: PathBuf,
        /// How to train
        #[command(flatten)]
        job: Job,
    },
    /// Print a configuration with every default resolved
    Show {
        /// Preset or TOML file
        config: String,
        /// Changes to it
        #[command(flatten)]
        change: Change,
    },
    /// List the tasks this program knows
    Tasks,
    /// Time the training step
    Bench {
        /// Preset or TOML file
        config: String,
        /// Changes to it
        #[command(flatten)]
        change: Change,
        /// Where to run
        #[command(flatten)]
        machine: Machine,
        /// Steps that are timed
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        steps: u32,
        /// Steps before them that are not
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
        warm_up: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Changes to a configuration.
#[derive(Debug, Args)]
pub struct Change {
    /// Seed of all randomness, as --set seed=N
    #[arg(long)]
    seed: Option<u64>,
    /// Replace a field: --set train.steps=100; may be given many times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
}

/// How to train.
#[derive(Debug, Args)]
pub struct Job {
    #[command(flatten)]
    machine: Machine,
    /// No progress
    #[arg(long)]
    quiet: bool,
    /// Print the final summary as JSON
    #[arg(long)]
    json: bool,
}

/// The program `trainer`, for the tasks in `registry`. Without a command it trains the quickstart preset.
pub fn command_line(registry: &TaskRegistry) -> ExitCode {
    // A bare program name means `train`, whose defaults only the parser knows.
    let bare = std::env::args_os().len() == 1;
    let cli = if bare { Cli::parse_from(["trainer", "train"]) } else { Cli::parse() };
    let Some(command) = cli.command else {
        return conclude(Err(Failure::Request(anyhow::anyhow!("a command is missing; see --help"))));
    };
    conclude(command.run(registry))
}

impl Command {
    /// Does what the command says.
    pub fn run(self, registry: &TaskRegistry) -> Result<(), Failure> {
        match self {
            Self::Train { config, change, job, out } => {
                let experiment = change.resolve(&config)?.build(registry)?;
                job.run(&RunDir::create(&out, &experiment)?, &experiment)
            }
            Self::Resume { run, job } => {
                let run = RunDir::open(&run)?;
                job.run(&run, &run.experiment(registry)?)
            }
            Self::Show { config, change } => {
                let config = change.resolve(&config)?;
                config.clone().build(registry)?;
                say(config.to_toml().trim_end());
                Ok(())
            }
            Self::Tasks => {
                registry.kinds().for_each(say);
                Ok(())
            }
            Self::Bench { config, change, machine, steps, warm_up, json } => {
                let experiment = change.resolve(&config)?.build(registry)?;
                machine.prepare()?;
                let steps = [warm_up, steps].map(|steps| steps as usize);
                let result = machine.device.run(BenchHere { experiment: &experiment, device: machine.device, steps });
                say_bench(&result, json)
            }
        }
    }
}

impl Change {
    fn resolve(&self, config: &str) -> Result<Config, Failure> {
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        let sets: Vec<String> = self.sets.iter().cloned().chain(seed).collect();
        Ok(Config::resolve(&Source::named(config), &sets)?)
    }
}

impl Job {
    /// Trains, computes what is computed once, and reports. A stage whose table is there is done.
    fn run(&self, run: &RunDir, experiment: &Experiment) -> Result<(), Failure> {
        self.machine.prepare()?;
        let _lock = run.lock()?;
        let device = self.machine.device;
        run.write_environment(&Environment::here(device, rayon::current_num_threads()))?;
        if !self.quiet {
            note(&format!("run: {}", run.path().display()));
        }
        if run.table::<BaselineRow>().read()?.is_empty() {
            analysis::write_baselines(run, experiment)?;
        }
        let started = run.resumable()?;
        let stop = stop_signal()?;
        let outcome = device.run(TrainHere { run, experiment, device, quiet: self.quiet, stop: &stop })?;
        if let Outcome::Interrupted(step) = outcome {
            let (program, path) = (program_name(), run.path().display());
            return Err(Failure::Interrupted(format!(
                "interrupted after step {step}, everything is saved; go on with: {program} resume {path}"
            )));
        }
        if started != Some(experiment.config.train.steps) || run.table::<MapRow>().read()?.is_empty() {
            analysis::write_map(run, experiment, &[], device)?;
        }
        let report = analysis::write_report(run, experiment)?;
        say_summary(&Summary::read(run, experiment)?, &report, self.json)
    }
}

/// Set by the first SIGINT or SIGTERM; the second ends the program at once.
fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
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

/// Parts a batch is split into: many small ones for the threads of a CPU, one for a GPU.
fn shards(experiment: &Experiment, device: Device) -> usize {
    if device.is_cpu() { experiment.config.train.shards } else { 1 }
}

struct TrainHere<'a> {
    run: &'a RunDir,
    experiment: &'a Experiment,
    device: Device,
    quiet: bool,
    stop: &'a AtomicBool,
}

impl OnBackend for TrainHere<'_> {
    type Output = Result<Outcome, Failure>;

    fn on<B: FusedBackend>(self, device: B::Device) -> Self::Output {
        let Self { run, experiment, quiet, stop, .. } = self;
        let mut table = TrainingTable { run };
        let mut errors = Errors::<B>::new(run, experiment, device.clone());
        let mut decodabilities = Decodabilities::<B> { run, experiment, device: device.clone() };
        let mut observers: Vec<&mut dyn Observer<B>> = vec![&mut table, &mut errors, &mut decodabilities];
        let mut progress;
        if !quiet {
            progress = Progress::new(run, experiment, run.resumable()?.unwrap_or(0));
            observers.push(&mut progress);
        }
        let shards = shards(experiment, self.device);
        train::<Autodiff<B>>(run, experiment, shards, &device, &mut observers, stop).map_err(|error| match error {
            TrainError::Run(error) => error.into(),
            error => Failure::Run(error.into()),
        })
    }
}

struct BenchHere<'a> {
    experiment: &'a Experiment,
    device: Device,
    steps: [usize; 2],
}

impl OnBackend for BenchHere<'_> {
    type Output = BenchResult;

    fn on<B: FusedBackend>(self, device: B::Device) -> BenchResult {
        bench::<Autodiff<B>>(self.experiment, shards(self.experiment, self.device), &device, self.steps)
    }
}

fn say_bench(result: &BenchResult, json: bool) -> Result<(), Failure> {
    if json {
        say(&serde_json::to_string_pretty(result).map_err(|error| Failure::Run(error.into()))?);
        return Ok(());
    }
    let BenchResult { name, device, threads, steps, median_ms, min_ms, max_ms, .. } = result;
    let share = result
        .share_of_products
        .map_or(String::new(), |share| format!(" ({:.0}% of the products' rate)", 100.0 * share));
    say(&format!(
        "{name} on {device}, {threads} threads: {median_ms:.2} ms a step (median of {steps}, {min_ms:.2} to {max_ms:.2})\n\
         {:.0} tokens/s, {:.2} GFLOP a step, {:.1} GFLOP/s{share}, sampling {:.1}% of a step",
        result.tokens_per_second,
        result.gflop_per_step,
        result.gflop_per_second,
        100.0 * result.sampling_share
    ));
    Ok(())
}
