//! `analysis map`.

use std::path::PathBuf;

use clap::Args;
use data::TaskRegistry;
use run::{Experiment, MapRow};

use crate::MapMethod;
use crate::cli::{OnRun, check_layers};
use crate::readings;
use crate::terminal::{Failure, patient_note};

/// The run, and how to map it.
#[derive(Debug, Args)]
pub struct Map {
    #[command(flatten)]
    on: OnRun,
    /// How states are brought into a plane
    #[arg(long, default_value = "pca")]
    method: MapMethod,
    /// Layer to map, 0 for the embedding; may be given many times [default: a few from the embedding to the best one at
    /// the end of training]
    #[arg(long = "layer")]
    layers: Vec<usize>,
}

impl Map {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, Failure> {
        let (run, experiment) = self.on.open(registry)?;
        check_layers("--layer", &self.layers, &experiment)?;
        check_states(self.method, &experiment)?;
        let _lock = run.lock()?;
        let note = patient_note();
        let progress = |step| note(&format!("step {step}"));
        readings::write_map(&run, &experiment, self.method, &self.layers, self.on.machine.device, progress)?;
        Ok(run.table::<MapRow>().path().to_owned())
    }
}

fn check_states(method: MapMethod, experiment: &Experiment) -> Result<(), Failure> {
    let prompts = experiment.config.probe.prompts_per_concept;
    let concepts = experiment.task.concepts().len();
    let (fewest, name) = (method.fewest_states(), method.name());
    if prompts * concepts >= fewest {
        return Ok(());
    }
    let range = format!("at least {} for --method {name} ({fewest} states)", fewest.div_ceil(concepts));
    Err(Failure::Request(anyhow::anyhow!("probe.prompts_per_concept must be {range}, but is {prompts}")))
}
