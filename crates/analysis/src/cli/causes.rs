//! `analysis patch`, `analysis prune` and `analysis transplant`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use data::{TaskRegistry, Token};
use model::Layer;
use run::{DecodabilityRow, Experiment, MetricRow, PatchRow, PruningRow, RunDir, RunError, TransplantRow};
use terminal::{Failure, patient_note};

use crate::causes::{PatchPlan, along_the_fall, write_patching, write_pruning, write_transplants};
use crate::cli::{CliError, OnRun, check_layers, sorted};
use crate::stages::spread;

/// Prompts behind a concept's mean activation unless told otherwise.
pub(super) const MEAN_PROMPTS: u32 = 100;
/// Checkpoints that are patched unless told otherwise.
const PATCHED: usize = 9;
/// Checkpoints whose layers are exchanged unless told otherwise.
const TRANSPLANTED: usize = 8;

/// What to patch.
#[derive(Debug, Args)]
pub struct Patch {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoints to patch, as 0,500,1000; the last one is steered as well [default: nine from first to last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    step: Vec<usize>,
    /// Layers at which the state is replaced, 0 for the embedding, as 4,5,6 [default: all]
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    layer: Vec<usize>,
    /// Layer at which the state is steered [default: that of the best decodability before the last]
    #[arg(long, value_name = "LAYER")]
    steer: Option<usize>,
    /// Pair whose y is predicted [default: the last, the query]
    #[arg(long, value_name = "PAIR")]
    points: Option<usize>,
    /// Token whose state is changed
    #[arg(long, default_value = "x")]
    token: Changed,
    /// Prompts of every concept behind its mean activation
    #[arg(long, value_name = "N", default_value_t = MEAN_PROMPTS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    mean_prompts: u32,
    /// Factors of what is added to the state
    #[arg(long, value_delimiter = ',', default_value = "-4,-2,-1,-0.5,0,0.5,1,2,4")]
    #[arg(allow_hyphen_values = true, value_parser = strength)]
    strengths: Vec<f64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Changed {
    /// The x token of the pair, where the prediction is read
    X,
    /// The y token before it
    Y,
}

/// What to prune.
#[derive(Debug, Args)]
pub struct Prune {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoint whose heads are switched off [default: the last]
    #[arg(long)]
    step: Option<usize>,
}

/// What to transplant.
#[derive(Debug, Args)]
pub struct Transplant {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoints to pair with each other, as 0,500,1000 [default: up to eight along the fall of the error]
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    step: Vec<usize>,
    /// Last layer of the early part, 0 for the embedding alone [default: half of the layers]
    #[arg(long)]
    layer: Option<usize>,
}

impl Patch {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        check_layers("--layer", &self.layer, &experiment)?;
        self.step.iter().try_for_each(|&step| run.require(step))?;
        check_layers("--steer", self.steer.as_slice(), &experiment)?;
        let (pair, token) = self.place(&experiment)?;
        let layers = match self.layer.is_empty() {
            true => (0..=experiment.architecture.n_layers).collect(),
            false => sorted(self.layer),
        };
        let mut strengths = self.strengths;
        strengths.sort_by(f64::total_cmp);
        strengths.dedup();
        let plan = PatchPlan {
            pair,
            token,
            mean_prompts: self.mean_prompts as usize,
            layers: layers.into_iter().map(Layer).collect(),
            steered: Layer(self.steer.map_or_else(|| most_decodable(&run, &experiment, token), Ok)?),
            strengths,
        };
        let steps =
            if self.step.is_empty() { spread(&run.scheduled_steps(&experiment)?, PATCHED) } else { sorted(self.step) };
        let _lock = run.lock()?;
        let note = patient_note();
        write_patching(&run, &experiment, &steps, &plan, device, |step| note(&format!("step {step}")))?;
        Ok(run.table::<PatchRow>().path().to_owned())
    }

    /// The pair whose y is predicted and the token that is changed.
    fn place(&self, experiment: &Experiment) -> Result<(usize, Token), Failure> {
        let n_points = experiment.architecture.n_points;
        let pair = self.points.unwrap_or(n_points);
        let (first, token) = match self.token {
            Changed::X => (1, Token::X(pair)),
            Changed::Y => (2, Token::Y(pair.saturating_sub(1))),
        };
        if (first..=n_points).contains(&pair) {
            return Ok((pair, token));
        }
        let range = format!("between {first} and task.n_points ({n_points})");
        Err(Failure::Request(anyhow::anyhow!("--points must be {range}, but is {pair}")))
    }
}

/// The layer with the best decodability at a token in the last rows, or at the first probed one if that token is not
/// probed; not the last layer, whose states no block reads.
fn most_decodable(run: &RunDir, experiment: &Experiment, token: Token) -> Result<usize, RunError> {
    let mut rows = run.table::<DecodabilityRow>().read()?;
    let token = if experiment.tokens.contains(&token) { token } else { experiment.tokens[0] };
    let (last, token) = (rows.last().map(|row| row.step), token.to_string());
    rows.retain(|row| Some(row.step) == last && row.token == token && row.probe == "knn" && row.concept.is_none());
    rows.retain(|row| row.layer < experiment.architecture.n_layers);
    Ok(rows.iter().max_by(|a, b| a.score.total_cmp(&b.score)).map_or(0, |row| row.layer))
}

impl Prune {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        let step = self.step.map_or_else(|| run.last_step(), Ok)?;
        let _lock = run.lock()?;
        let note = patient_note();
        write_pruning(&run, &experiment, step, device, &|layer| note(&format!("layer {layer}")))?;
        Ok(run.table::<PruningRow>().path().to_owned())
    }
}

impl Transplant {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let (run, experiment, device) = self.on.open(registry)?;
        check_layers("--layer", self.layer.as_slice(), &experiment)?;
        let layer = Layer(self.layer.unwrap_or(experiment.architecture.n_layers / 2));
        let steps = if self.step.is_empty() {
            let metrics = run.table::<MetricRow>().read()?;
            along_the_fall(&run.scheduled_steps(&experiment)?, &metrics, TRANSPLANTED)
        } else {
            sorted(self.step)
        };
        let _lock = run.lock()?;
        let note = patient_note();
        write_transplants(&run, &experiment, &steps, layer, device, &|step| note(&format!("early step {step}")))?;
        Ok(run.table::<TransplantRow>().path().to_owned())
    }
}

fn strength(text: &str) -> Result<f64, String> {
    let most = 1e6;
    text.parse()
        .ok()
        .filter(|value: &f64| value.abs() <= most)
        .ok_or_else(|| format!("must be between -{most} and {most}"))
}
