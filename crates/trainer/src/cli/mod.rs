//! The command line of `trainer`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use analysis::{Allowed, CliError, Machine, Overrides};
use clap::{Parser, Subcommand};
use data::{TaskRegistry, answer};
use model::{Device, Kernels, OnBackend};
use rayon::{ThreadPool, ThreadPoolBuilder};
use record::leave;
use run::{Config, Experiment, PRESETS, RunDir, Source, Work};
use serde::Serialize;
use terminal::{Failure, conclude, listen, note, parse, say, say_json};

use crate::{BenchPlan, BenchResult, Parallelism, TrainError, bench};

mod finetune;
mod job;
mod runs;
mod status;
mod sweep;

pub use finetune::Finetune;
pub use job::{Job, complete};
pub use runs::{Among, Runs, runs_below};
pub use status::{Contents, State, Status};
pub use sweep::Sweep;

/// Train a small transformer on an in-context-learning task and watch it encode the latent concept.
#[derive(Debug, Parser)]
#[command(name = "trainer", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    allowed: Allowed,
}

/// The commands that train.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train from a preset or a file, or go on where that run stopped
    Train {
        /// Preset or TOML file
        #[arg(help = format!("Preset ({}) or TOML file", PRESETS.map(|(name, _)| name).join(", ")))]
        #[arg(default_value = "quickstart")]
        config: String,
        /// Changes to it
        #[command(flatten)]
        overrides: Overrides,
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
        /// Begin anew, where no checkpoint is whole; what is there is kept under another name
        #[arg(long)]
        anew: bool,
        /// Train for so many steps in all, more than the run was made for; the schedule of the learning rate stays
        #[arg(long, value_name = "N", conflicts_with = "anew", value_parser = terminal::whole::<usize>(0, None))]
        steps: Option<usize>,
        /// How to train
        #[command(flatten)]
        job: Job,
    },
    /// Train every run of a grid or list of settings and seeds, and compare them
    Sweep(Sweep),
    /// List, compare or tidy up the runs in a folder
    #[command(subcommand)]
    Runs(Runs),
    /// Go on from the weights of a run, on another task or partly frozen
    Finetune(Finetune),
    /// Print a configuration with every default resolved
    Show {
        /// Preset or TOML file
        config: String,
        /// Changes to it
        #[command(flatten)]
        overrides: Overrides,
    },
    /// List the tasks this program knows
    Tasks,
    /// Draw prompts for another program, which asks for them line by line
    ///
    /// It asks on standard input as this program asks a task of the kind `process`: see docs/custom-tasks.md.
    Generate {
        /// Preset or TOML file
        config: String,
        /// Changes to it
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Time the training step
    Bench {
        /// Preset or TOML file
        config: String,
        /// Changes to it
        #[command(flatten)]
        overrides: Overrides,
        /// Where to run
        #[command(flatten)]
        machine: Machine,
        /// Steps that are timed
        #[arg(long, default_value_t = 20, value_parser = terminal::whole::<u32>(1, Some(1_000_000)))]
        steps: u32,
        /// Steps of warm-up before them, which are not timed
        #[arg(long, default_value_t = 3, value_parser = terminal::whole::<u32>(0, Some(1_000_000)))]
        warm_up: u32,
        /// Models that are trained side by side, each on its share of the threads
        #[arg(long, default_value_t = 1, value_parser = terminal::whole::<u8>(1, Some(255)))]
        jobs: u8,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The program `trainer`, for the tasks in `registry`. Without a command it trains the quickstart preset.
pub fn command_line(registry: &TaskRegistry) -> ExitCode {
    // A bare program name means `train`, whose defaults only the parser knows.
    let bare = std::env::args_os().len() == 1;
    let cli: Cli = if bare { parse(["trainer", "train"]) } else { parse(std::env::args_os()) };
    let Some(command) = cli.command else {
        return conclude(Err(Failure::Request(anyhow::anyhow!("a command is missing; see --help"))));
    };
    conclude(listen(leave).map_err(CliError::from).and_then(|()| command.run(&cli.allowed.of(registry))))
}

impl Command {
    /// Does what the command says.
    ///
    /// # Errors
    /// When the request is wrong, what it asks for fails, or it is interrupted.
    pub fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        match self {
            Self::Train { config, overrides, job, out } => {
                let experiment = Config::resolve(&Source::named(&config), &overrides.sets()?)?.build(registry)?;
                let device = job.prepare(&experiment)?;
                let run = RunDir::create(&out, &experiment)?;
                job.run(&run, &run.as_lengthened(experiment)?, device)
            }
            Self::Resume { run, anew, steps, job } => {
                let run = RunDir::open(&run)?;
                let mut experiment = run.experiment(registry)?;
                let device = job.prepare(&experiment)?;
                if let Some(steps) = steps {
                    let longer = run.lengthen(&run.lock()?, &experiment, steps)?;
                    note(&lengthened(&experiment.config, steps));
                    experiment = longer;
                }
                if anew {
                    let _lock = run.lock()?;
                    let kept = run.set_all_aside(&experiment)?;
                    note(&format!("begun anew; the checkpoints of before are kept as {}", kept.display()));
                }
                job.run(&run, &experiment, device)
            }
            Self::Sweep(sweep) => sweep.run(registry),
            Self::Runs(runs) => runs.run(),
            Self::Finetune(finetune) => finetune.run(registry),
            Self::Show { config, overrides } => {
                let config = Config::resolve(&Source::named(&config), &overrides.sets()?)?;
                config.clone().build(registry)?;
                Ok(say(config.to_toml().trim_end())?)
            }
            Self::Tasks => Ok(registry.kinds().try_for_each(say)?),
            Self::Generate { config, overrides } => {
                let experiment = Config::resolve(&Source::named(&config), &overrides.sets()?)?.build(registry)?;
                let (requests, answers) = (io::stdin().lock(), io::stdout().lock());
                let answered = answer(experiment.study.task.pairs(), requests, answers);
                Ok(answered.map_err(|error| Failure::Run(error.into()))?)
            }
            Self::Bench { config, overrides, machine, steps, warm_up, jobs, json } => {
                let experiment = Config::resolve(&Source::named(&config), &overrides.sets()?)?.build(registry)?;
                let device = machine.device()?;
                let jobs = usize::from(jobs);
                experiment.check_memory(Work::Steps, device, machine.threads().div_ceil(jobs), jobs)?;
                let pools = pools(machine.threads(), jobs)?;
                // Waiting for a GPU after every step would leave it idle while the next one is prepared.
                let at_a_time = if device.is_cpu() { 1 } else { 10 };
                let plan = BenchPlan { warm_up: warm_up as usize, counted: steps as usize, at_a_time };
                let result = device.run(BenchHere { experiment: &experiment, device, plan, pools: &pools });
                let result = result.map_err(|error| match error {
                    TrainError::Task(error) => CliError::Task(error),
                    error => Failure::threads(2 * pools.len(), error).into(),
                })?;
                Ok(say_bench(&Benched::new(result, &experiment, device), json)?)
            }
        }
    }
}

/// Says what a longer training does, which is no other rate: the schedule stays.
fn lengthened(before: &Config, steps: usize) -> String {
    let train = &before.train;
    let rate = |step| train.learning_rate * train.schedule.factor(step);
    let (first, last) = (rate(train.steps), rate(steps - 1));
    format!(
        "trains to step {steps} instead of {}; by train.schedule, which stays, the learning rate goes from {first:.3e} to {last:.3e}",
        train.steps
    )
}

/// Threads for some jobs, each of which gets its share.
fn pools(threads: usize, jobs: usize) -> Result<Vec<ThreadPool>, Failure> {
    let threads = threads.div_ceil(jobs);
    let pools = (0..jobs).map(|_| ThreadPoolBuilder::new().num_threads(threads).build());
    pools.collect::<Result<_, _>>().map_err(|error| Failure::threads(jobs * threads, error))
}

struct BenchHere<'a> {
    experiment: &'a Experiment,
    device: Device,
    plan: BenchPlan,
    pools: &'a [ThreadPool],
}

impl OnBackend for BenchHere<'_> {
    type Output = Result<BenchResult, TrainError>;

    fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
        let Self { experiment, device: kind, plan, pools } = self;
        bench::<B>(experiment, Parallelism::on(kind, experiment).shards, &device, plan, pools)
    }
}

/// What was timed, beside the memory that was expected.
#[derive(Serialize)]
struct Benched {
    #[serde(flatten)]
    result: BenchResult,
    /// Of the steps, in MiB.
    expected_memory_mib: f64,
    /// Of measuring a checkpoint, in MiB.
    expected_to_measure_mib: f64,
}

impl Benched {
    fn new(result: BenchResult, experiment: &Experiment, device: Device) -> Self {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let expected = |work| mib(experiment.bytes_for(work, device, result.threads));
        let expected_memory_mib = result.jobs as f64 * expected(Work::Steps);
        Self { expected_memory_mib, expected_to_measure_mib: expected(Work::Measuring), result }
    }
}

fn say_bench(benched: &Benched, json: bool) -> Result<(), Failure> {
    if json {
        return say_json(benched);
    }
    let result = &benched.result;
    let BenchResult { name, device, jobs, threads, steps, median_ms, min_ms, max_ms, .. } = result;
    let times = if *jobs > 1 { format!("{jobs} × ") } else { String::new() };
    let share = result
        .share_of_products
        .map_or(String::new(), |share| format!(" ({:.0}% of the products' rate)", 100.0 * share));
    say(&format!(
        "{times}{name} on {device}, {threads} threads: {median_ms:.2} ms a step (median of {steps}, {min_ms:.2} to {max_ms:.2})\n\
         {:.0} tokens/s, {:.2} GFLOP a step, {:.1} GFLOP/s{share}, sampling {:.1}% of a step",
        result.tokens_per_second,
        result.gflop_per_step,
        result.gflop_per_second,
        100.0 * result.sampling_share
    ))
}
