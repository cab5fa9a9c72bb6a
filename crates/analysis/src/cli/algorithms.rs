//! `analysis algorithms`.

use std::path::PathBuf;

use clap::Args;
use data::TaskRegistry;
use run::AlgorithmRow;

use crate::cli::OnRun;
use crate::figures::task_kind;
use crate::stages;
use crate::terminal::{Failure, note};

/// Which run to compare with the closed-form predictors of its task.
#[derive(Debug, Args)]
pub struct CompareAlgorithms {
    #[command(flatten)]
    on: OnRun,
}

impl CompareAlgorithms {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, Failure> {
        let (run, experiment, device) = self.on.open(registry)?;
        if experiment.task.predictors().is_empty() && experiment.task.algorithms().is_empty() {
            return Err(Failure::Request(anyhow::anyhow!(
                "task.kind must be one with closed-form predictors, but {:?} has none",
                task_kind(&experiment)
            )));
        }
        let _lock = run.lock()?;
        stages::write_algorithms(&run, &experiment, device, |step| note(&format!("step {step}")))?;
        Ok(run.table::<AlgorithmRow>().path().to_owned())
    }
}
