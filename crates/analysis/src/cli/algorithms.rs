//! `analysis algorithms`.

use std::path::PathBuf;

use clap::Args;
use data::TaskRegistry;
use run::AlgorithmRow;
use terminal::{Failure, note};

use crate::cli::{CliError, OnRun};
use crate::figures::task_kind;
use crate::stages;

/// Which run to compare with the closed-form predictors of its task.
#[derive(Debug, Args)]
pub struct CompareAlgorithms {
    #[command(flatten)]
    on: OnRun,
}

impl CompareAlgorithms {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        if experiment.task.predictors().is_empty() && experiment.task.algorithms().is_empty() {
            return Err(CliError::from(Failure::Request(anyhow::anyhow!(
                "task.kind must be one with closed-form predictors, but {:?} has none",
                task_kind(&experiment)
            ))));
        }
        let _lock = run.lock()?;
        stages::write_algorithms(&run, &experiment, device, |step| note(&format!("step {step}")))?;
        Ok(run.table::<AlgorithmRow>().path().to_owned())
    }
}
