//! Patching and steering: the state at a token is replaced by a concept's mean activation, or moved towards it.

mod rows;
mod show;

use clap::ValueEnum;
use data::{ConceptId, Prompt, Purpose, Token};
use probe::{Answers, Edit, Layer, Study, Subject};
use serde::Serialize;

pub use rows::{PatchKind, PatchRow};

use super::effect::{Effect, less};
use super::intervention::{
    Activation, Intervention, MEAN_PROMPTS, Means, ascending, directions, mean_prompts, strength,
};
use super::{DecodabilityRow, MeasureError, Measurement, Needs, Session};
use crate::show::{Section, Shown};

/// Checkpoints that are patched unless told otherwise.
const PATCHED: usize = 9;

/// Errors under every intervention, and what they add to the error of the model as it is. The state is steered at the
/// last checkpoint only.
///
/// # Source
/// Replacement by means: Han et al., arXiv 2412.12276, which states neither token nor sample sizes. Steering and the
/// controls are ours.
#[derive(Clone, Copy, Debug)]
pub struct Patching;

/// What to patch.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub struct Options {
    /// Checkpoints to patch, as 0,500,1000; the last one is steered as well [default: nine from first to last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    step: Vec<usize>,
    /// Layers at which the state is replaced, 0 for the embedding, as 4,5,6 [default: all]
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    layer: Vec<usize>,
    /// Layer at which the state is steered [default: the one with the best CD, the last layer left out]
    #[arg(long, value_name = "LAYER", value_parser = terminal::whole::<usize>(0, None))]
    steer: Option<usize>,
    /// Pair whose y is predicted [default: the last, the query]
    #[arg(long, value_name = "PAIR", value_parser = terminal::whole::<usize>(0, None))]
    points: Option<usize>,
    /// Token whose state is changed
    #[arg(long, default_value = "x")]
    token: Changed,
    /// Prompts of every concept that its mean activation is taken over
    #[arg(long, value_name = "N", default_value_t = MEAN_PROMPTS)]
    #[arg(value_parser = terminal::whole::<u32>(1, Some(100_000)))]
    mean_prompts: u32,
    /// Strengths of steering: how many times the difference of a concept's mean and the mean over concepts is added
    #[arg(long, value_delimiter = ',', default_value = "-4,-2,-1,-0.5,0,0.5,1,2,4")]
    #[arg(allow_hyphen_values = true, value_parser = strength)]
    strengths: Vec<f64>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Changed {
    /// The x token of the pair, where the prediction is read
    X,
    /// The y token before it
    Y,
}

/// What is patched.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<usize>,
    /// The pair whose y is predicted, 1 to the task's number of pairs.
    pair: usize,
    /// The token whose state is changed, up to the pair's x token; behind it nothing reaches the prediction.
    token: Token,
    /// Prompts of every concept behind its mean, disjoint from those that errors are measured on.
    mean_prompts: usize,
    /// Layers at which the state is replaced.
    layers: Vec<Layer>,
    /// Layer at which the state is steered.
    steered: Layer,
    /// Factors of what is added to the state.
    strengths: Vec<f64>,
}

impl Measurement for Patching {
    const NAME: &'static str = "patch";
    const ABOUT: &'static str = "Replace states by concepts' means, or steer, and measure the error";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["patching", "patching_sweep", "steering"];
    type Options = Options;
    type Plan = Plan;
    type Rows = Vec<PatchRow>;

    fn plan(options: Options, session: &Session<'_>) -> Result<Plan, MeasureError> {
        let layers = session.layers_or_all("--layer", options.layer)?;
        let steered = session.layers("--steer", options.steer.into_iter().collect())?.pop();
        let (pair, token) = place(options.points, options.token, session.study.n_points())?;
        session.study.check_stock("--mean-prompts", Purpose::Patch, options.mean_prompts as usize)?;
        Ok(Plan {
            steps: session.steps(options.step, PATCHED)?,
            pair,
            token,
            mean_prompts: options.mean_prompts as usize,
            layers,
            steered: steered.map_or_else(|| most_decodable(session, token), Ok)?,
            strengths: ascending(options.strengths),
        })
    }

    fn measure(plan: &Plan, session: &Session<'_>) -> Result<Vec<PatchRow>, MeasureError> {
        session.over_steps(&plan.steps, |subject, step| {
            let strengths: &[f64] = if Some(&step) == plan.steps.last() { &plan.strengths } else { &[] };
            patch(session.study, subject, step, plan, strengths)
        })
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// The pair whose y is predicted and the token that is changed.
fn place(points: Option<usize>, token: Changed, n_points: usize) -> Result<(usize, Token), MeasureError> {
    let pair = points.unwrap_or(n_points);
    let (first, token) = match token {
        Changed::X => (1, Token::X(pair)),
        Changed::Y => (2, Token::Y(pair.saturating_sub(1))),
    };
    if (first..=n_points).contains(&pair) {
        return Ok((pair, token));
    }
    Err(MeasureError::out_of_range("--points", format!("between {first} and task.n_points ({n_points})"), pair))
}

/// The layer with the best decodability at a token in the last rows, or at the first probed one if that token is not
/// probed; not the last layer, whose states no block reads.
fn most_decodable(session: &Session<'_>, token: Token) -> Result<Layer, MeasureError> {
    let mut rows = session.folder.table::<DecodabilityRow>().read()?;
    let tokens = &session.study.tokens;
    let token = if tokens.contains(&token) { token } else { tokens[0] };
    let last = rows.last().map(|row| row.step);
    rows.retain(|row| Some(row.step) == last && row.token == token && row.is_cd() && row.concept.is_none());
    rows.retain(|row| row.layer.0 < session.subjects.anatomy().n_layers);
    Ok(rows.iter().max_by(|a, b| a.score.total_cmp(&b.score)).map_or(Layer(0), |row| row.layer))
}

/// The rows of one checkpoint.
fn patch(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
    plan: &Plan,
    strengths: &[f64],
) -> Result<Vec<PatchRow>, MeasureError> {
    let effect = Effect::new(study)?;
    let means = Means::of(subject, mean_prompts(study, plan.mean_prompts)?.first(plan.pair), None, plan.token, &[])?;
    let (prompts, interventions) = (effect.prompts().first(plan.pair), interventions(study, plan, strengths));
    let labels = prompts.labels();
    let edit = |(layer, what): &(Layer, Intervention)| what.edit(&labels, &means, *layer, plan.token);
    let edits: Vec<Edit> = std::iter::once(Edit::default()).chain(interventions.iter().map(edit)).collect();
    let errors = |answers: &Answers| -> Vec<f64> {
        let error = |(prompt, answers): (&Prompt, &Vec<f64>)| {
            (f64::from(prompt.ys[plan.pair - 1]) - answers[plan.pair - 1]).powi(2) / effect.scale
        };
        prompts.pairs().iter().zip(answers.numbers()).map(error).collect()
    };
    let found: Vec<Vec<f64>> = subject.answers(&prompts, &edits)?.iter().map(errors).collect();
    let (plain, n) = (&found[0], effect.n());
    let mut rows = Vec::new();
    for ((layer, intervention), errors) in interventions.iter().zip(&found[1..]) {
        let change = less(errors, plain);
        let sources = errors.chunks_exact(n).zip(change.chunks_exact(n));
        for (source, (errors, change)) in study.concepts().iter().zip(sources) {
            let (kind, target, strength) = describe(*intervention, study);
            let estimate = effect.bootstrap.mean(change);
            rows.push(PatchRow {
                step,
                layer: *layer,
                token: plan.token,
                position: plan.pair,
                kind,
                source: source.name.clone(),
                target,
                strength,
                error: errors.iter().sum::<f64>() / n as f64,
                change: estimate.mean,
                lo: estimate.lo,
                hi: estimate.hi,
                n,
                mean_n: plan.mean_prompts,
            });
        }
    }
    Ok(rows)
}

/// Replacement at every layer, then steering.
fn interventions(study: &Study, plan: &Plan, strengths: &[f64]) -> Vec<(Layer, Intervention)> {
    let concepts = (0..study.concepts().len()).map(|concept| Activation::Concept(ConceptId(concept)));
    let random = Activation::Random(directions(study));
    let steering: Vec<Activation> = concepts.clone().chain([random]).collect();
    let mut replacing: Vec<Intervention> =
        concepts.chain([Activation::Overall, random]).map(Intervention::Replace).collect();
    replacing.push(Intervention::Nothing);
    let replace = plan.layers.iter().flat_map(|layer| replacing.iter().map(|intervention| (*layer, *intervention)));
    let add = strengths.iter().flat_map(|strength| {
        steering.iter().map(|activation| (plan.steered, Intervention::Add(*activation, *strength)))
    });
    replace.chain(add).collect()
}

/// Kind, target and strength, as in the table.
fn describe(intervention: Intervention, study: &Study) -> (PatchKind, Option<String>, Option<f64>) {
    let (activation, strength) = match intervention {
        Intervention::Nothing => return (PatchKind::Itself, None, None),
        Intervention::Replace(activation) => (activation, None),
        Intervention::Add(activation, strength) => (activation, Some(strength)),
    };
    match activation {
        Activation::Concept(concept) => (PatchKind::Concept, Some(study.concepts()[concept.0].name.clone()), strength),
        Activation::Null => unreachable!("tasks of numbers have no Null"),
        Activation::Overall => (PatchKind::Overall, None, strength),
        Activation::Random(_) => (PatchKind::Random, None, strength),
    }
}
