//! `analysis sensitivity`.

use std::path::PathBuf;

use clap::Args;
use data::TaskRegistry;
use run::SensitivityRow;
use terminal::note;

use crate::cli::{CliError, OnRun};
use crate::readings;

/// The run and its checkpoint.
#[derive(Debug, Args)]
pub struct Sensitivity {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoint to read [default: the last]
    #[arg(long)]
    step: Option<usize>,
}

impl Sensitivity {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        let _lock = run.lock()?;
        let step = self.step.map_or_else(|| run.last_step(), Ok)?;
        let progress = |size| note(&format!("{size} prompts a concept"));
        readings::write_sensitivity(&run, &experiment, step, device, progress)?;
        Ok(run.table::<SensitivityRow>().path().to_owned())
    }
}
