//! `analysis map`.

use std::path::PathBuf;

use clap::Args;
use data::TaskRegistry;
use run::{Experiment, MapRow, ProbeToken};
use terminal::{Failure, patient_note};

use crate::MapMethod;
use crate::cli::{CliError, OnRun, check_layers, sorted};
use crate::readings::{self, MapPlan};

/// The run, and how to map it.
#[derive(Debug, Args)]
pub struct Map {
    #[command(flatten)]
    on: OnRun,
    /// How states are brought into a plane
    #[arg(long, default_value = "pca")]
    method: MapMethod,
    /// Token whose states are mapped, one of those that are probed: query_x, last_y, or one by name such as x7
    /// [default: the first of them]
    #[arg(long)]
    token: Option<ProbeToken>,
    /// Layer to map, 0 for the embedding; may be given many times [default: a few from the embedding to the best one at
    /// the end of training]
    #[arg(long = "layer")]
    layers: Vec<usize>,
}

impl Map {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        check_layers("--layer", &self.layers, &experiment)?;
        check_states(self.method, &experiment)?;
        let token = self.token(&experiment)?;
        let _lock = run.lock()?;
        let note = patient_note();
        let progress = |step| note(&format!("step {step}"));
        let plan = MapPlan { method: self.method, token, layers: sorted(self.layers) };
        readings::write_map(&run, &experiment, &plan, device, progress)?;
        Ok(run.table::<MapRow>().path().to_owned())
    }

    /// Its place among the experiment's tokens.
    fn token(&self, experiment: &Experiment) -> Result<usize, Failure> {
        let Some(asked) = self.token else { return Ok(0) };
        let probed = || experiment.tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let resolved = asked.resolve(experiment.architecture.n_points).ok();
        let place = experiment.tokens.iter().position(|token| Some(*token) == resolved);
        place.ok_or_else(|| {
            Failure::Request(anyhow::anyhow!("--token must be one of probe.tokens ({}), but is {asked}", probed()))
        })
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
