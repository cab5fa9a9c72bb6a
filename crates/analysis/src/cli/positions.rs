//! `analysis positions`.

use std::path::PathBuf;

use clap::Args;
use data::TaskRegistry;
use run::PositionRow;
use terminal::note;

use crate::cli::{CliError, OnRun, sorted};
use crate::readings;

/// The run and its checkpoints.
#[derive(Debug, Args)]
pub struct Positions {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoint to read; may be given many times [default: four from the first to the last]
    #[arg(long)]
    step: Vec<usize>,
}

impl Positions {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        self.step.iter().try_for_each(|&step| run.require(step))?;
        let _lock = run.lock()?;
        let progress = |step| note(&format!("step {step}"));
        readings::write_positions(&run, &experiment, &sorted(self.step), device, progress)?;
        Ok(run.table::<PositionRow>().path().to_owned())
    }
}
