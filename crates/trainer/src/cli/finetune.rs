//! `trainer finetune`.

use std::path::PathBuf;

use analysis::{CliError, Overrides};
use clap::Args;
use data::TaskRegistry;
use model::Free;
use run::{Config, FinetuneConfig, RunDir};
use terminal::Failure;

use super::Job;

/// What to continue from, and what may change.
#[derive(Debug, Args)]
pub struct Finetune {
    /// The folder of the run to continue from
    run: PathBuf,
    /// Checkpoint to continue from [default: the last]
    #[arg(long, value_parser = terminal::whole::<usize>(0, None))]
    step: Option<usize>,
    /// Parameters that are trained: all, those of the first=N or last=N blocks, or read_out; all others stay frozen
    #[arg(long, default_value = "all")]
    free: Free,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    job: Job,
    /// Folder that runs are made in
    #[arg(long, default_value = "runs")]
    out: PathBuf,
}

impl Finetune {
    pub(super) fn run(mut self, registry: &TaskRegistry) -> Result<(), CliError> {
        let its_own = |set: &&String| set.split(['.', '=']).next().map(str::trim) == Some("finetune");
        if let Some(set) = self.overrides.fields.iter().find(its_own) {
            let range = "a change of another section than finetune, which --step and --free are for";
            return Err(Failure::Request(anyhow::anyhow!("--set must be {range}, but is {set:?}")).into());
        }
        let from = RunDir::open(&self.run)?;
        let before = from.experiment(registry)?;
        let step = self.step.map_or_else(|| from.last_step(), Ok)?;
        let start = from.checkpoint(&before, step)?;
        // First of all changes, so that --set can name it otherwise.
        self.overrides.fields.insert(0, format!("name={}-finetune", before.config.name));
        let mut config = Config::resolve(&from.source(), &self.overrides.sets()?)?;
        config.finetune =
            Some(FinetuneConfig { run: before.config.run_name(), step, weights: start.digest(), free: self.free });
        let experiment = config.build(registry)?;
        experiment.check_weights(&start.architecture)?;
        let device = self.job.prepare(&experiment)?;
        let run = RunDir::create_from(&self.out, &experiment, &start)?;
        self.job.run(&run, &run.as_lengthened(experiment)?, device)
    }
}
