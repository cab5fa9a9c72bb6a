//! `analysis sites`.

use std::path::PathBuf;

use clap::Args;
use data::TaskRegistry;
use run::SiteRow;
use terminal::patient_note;

use crate::cli::{CliError, OnRun, sorted};
use crate::readings;

/// The run and its checkpoints.
#[derive(Debug, Args)]
pub struct Sites {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoints to read, as 0,500,1000 [default: four from the first to the last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    step: Vec<usize>,
}

impl Sites {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        self.step.iter().try_for_each(|&step| run.require(step))?;
        let _lock = run.lock()?;
        let (steps, note) = (sorted(self.step), patient_note());
        let progress = |step| note(&format!("step {step}"));
        readings::write_sites(&run, &experiment, &steps, device, progress)?;
        Ok(run.table::<SiteRow>().path().to_owned())
    }
}
