//! Patching and steering: the state at a token is replaced by a concept's mean activation, or moved towards it.

use data::{ConceptId, Prompt, Purpose, Sampler, Stream, Token};
use model::{Device, FusedBackend, Layer, Transformer};
use run::{Experiment, PatchRow, RunDir, RunError};

use crate::causes::{Activation, Intervention, Means, Measure, intervene, less};
use crate::stages::{OnModel, with_model};

/// What is patched.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchPlan {
    /// The pair whose y is predicted, 1 to the task's number of pairs.
    pub pair: usize,
    /// The token whose state is changed, up to the pair's x token; behind it nothing reaches the prediction.
    pub token: Token,
    /// Prompts of every concept behind its mean, disjoint from those that errors are measured on.
    pub mean_prompts: usize,
    /// Layers at which the state is replaced.
    pub layers: Vec<Layer>,
    /// Layer at which the state is steered.
    pub steered: Layer,
    /// Factors of what is added to the state.
    pub strengths: Vec<f64>,
}

/// Errors of a model under every intervention of the plan, and what they add to the error of the model as it is.
///
/// # Source
/// Replacement by means: Han et al., arXiv 2412.12276, which states neither token nor sample sizes. Steering and the
/// controls are ours.
pub fn patch<B: FusedBackend>(
    model: &Transformer<B>,
    experiment: &Experiment,
    step: usize,
    plan: &PatchPlan,
    device: &B::Device,
) -> Vec<PatchRow> {
    let measure = Measure::new(experiment);
    let cut = |prompts: &[Prompt]| -> Vec<Prompt> { prompts.iter().map(|prompt| prompt.first(plan.pair)).collect() };
    let means = Means::of(model, &cut(&mean_prompts(experiment, plan.mean_prompts)), plan.token, device);
    let (prompts, interventions) = (cut(measure.prompts()), interventions(experiment, plan));
    let found = intervene(model, &prompts, plan.token, &means, &interventions, device);
    let ys: Vec<f64> = prompts.iter().map(|prompt| f64::from(prompt.ys[plan.pair - 1])).collect();
    let errors = |predictions: &[f64]| -> Vec<f64> {
        ys.iter().zip(predictions).map(|(y, prediction)| (y - prediction).powi(2) / measure.scale).collect()
    };
    let (plain, n) = (errors(&found.plain), measure.n());
    let mut rows = Vec::new();
    for ((layer, intervention), predictions) in interventions.iter().zip(&found.changed) {
        let errors = errors(predictions);
        let change = less(&errors, &plain);
        let sources = errors.chunks_exact(n).zip(change.chunks_exact(n));
        for (source, (errors, change)) in experiment.task.concepts().iter().zip(sources) {
            let (kind, target, strength) = describe(*intervention, experiment);
            let estimate = measure.bootstrap.mean(change);
            rows.push(PatchRow {
                step,
                layer: layer.0,
                token: plan.token.to_string(),
                position: plan.pair,
                kind: kind.to_owned(),
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
    rows
}

/// The prompts that means are taken over, `per_concept` of every concept.
pub(crate) fn mean_prompts(experiment: &Experiment, per_concept: usize) -> Vec<Prompt> {
    let stream = Stream::new(experiment.config.seed, Purpose::Patch);
    Sampler::new(experiment.task.clone(), stream).balanced(0, per_concept)
}

/// Where the random directions come from.
pub(crate) fn directions(experiment: &Experiment) -> Stream {
    Stream::new(experiment.config.seed, Purpose::Direction)
}

/// Replacement at every layer, then steering.
fn interventions(experiment: &Experiment, plan: &PatchPlan) -> Vec<(Layer, Intervention)> {
    let concepts = (0..experiment.task.concepts().len()).map(|concept| Activation::Concept(ConceptId(concept)));
    let random = Activation::Random(directions(experiment));
    let steering: Vec<Activation> = concepts.clone().chain([random]).collect();
    let mut replacing: Vec<Intervention> =
        concepts.chain([Activation::Overall, random]).map(Intervention::Replace).collect();
    replacing.push(Intervention::Nothing);
    let replace = plan.layers.iter().flat_map(|layer| replacing.iter().map(|intervention| (*layer, *intervention)));
    let add = plan.strengths.iter().flat_map(|strength| {
        steering.iter().map(|activation| (plan.steered, Intervention::Add(*activation, *strength)))
    });
    replace.chain(add).collect()
}

/// Kind, target and strength, as in the table.
fn describe(intervention: Intervention, experiment: &Experiment) -> (&'static str, Option<String>, Option<f64>) {
    let (activation, strength) = match intervention {
        Intervention::Nothing => return ("itself", None, None),
        Intervention::Replace(activation) => (activation, None),
        Intervention::Add(activation, strength) => (activation, Some(strength)),
    };
    match activation {
        Activation::Concept(concept) => ("concept", Some(experiment.task.concepts()[concept.0].name.clone()), strength),
        Activation::Overall => ("overall", None, strength),
        Activation::Random(_) => ("random", None, strength),
    }
}

/// Writes the table of patching anew, for the checkpoints at `steps`; `progress` is told each of them. The state is
/// steered at the last of them only.
///
/// # Errors
/// When a checkpoint cannot be read or the table not be written.
pub fn write_patching(
    run: &RunDir,
    experiment: &Experiment,
    steps: &[usize],
    plan: &PatchPlan,
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let mut rows = Vec::new();
    for &step in steps {
        progress(step);
        let strengths = if Some(&step) == steps.last() { plan.strengths.clone() } else { Vec::new() };
        let plan = PatchPlan { strengths, ..plan.clone() };
        rows.extend(with_model(run, experiment, step, device, Patch { experiment, step, plan })?);
    }
    Ok(run.table().replace(&rows)?)
}

struct Patch<'a> {
    experiment: &'a Experiment,
    step: usize,
    plan: PatchPlan,
}

impl OnModel for Patch<'_> {
    type Output = Vec<PatchRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<PatchRow> {
        patch(model, self.experiment, self.step, &self.plan, device)
    }
}

#[cfg(test)]
mod tests {
    use run::{Config, Source};

    use super::*;

    #[test]
    fn no_prompt_behind_a_mean_is_held_out() {
        let config = Config::resolve(&Source::named("smoke"), &[]).unwrap();
        let experiment = config.build(&data::TaskRegistry::builtin()).unwrap();
        let measure = Measure::new(&experiment);
        assert!(mean_prompts(&experiment, 50).iter().all(|prompt| !measure.prompts().contains(prompt)));
    }
}
