//! What depends on what inside the model: change something, and see what becomes of the error.
//!
//! Hidden states are changed between two blocks ([`intervene`]), heads and whole layers on the host before the model is
//! made ([`model::without_head`], [`model::transplant`]). So there are no hooks here either.

mod intervention;
mod patch;
mod prune;
mod transplant;

pub use intervention::{Activation, Intervened, Intervention, Means, intervene, predict_patched};
pub use patch::{PatchPlan, patch, write_patching};
pub use prune::{prune, write_pruning};
pub use transplant::{transplants, write_transplants};

pub(crate) use intervention::direction;
pub(crate) use patch::{directions, mean_prompts};
pub(crate) use transplant::along_the_fall;

use data::Prompt;
use model::{Kernels, Transformer};
use run::Experiment;

use crate::HeldOut;
use crate::interval::{Bootstrap, Estimate};
use crate::states::predict;

/// The held-out prompts as the effect of a change is measured on them: one error a prompt, divided by E\[y²\].
struct Measure<'a> {
    experiment: &'a Experiment,
    held_out: HeldOut<'a>,
    scale: f64,
    bootstrap: Bootstrap,
}

impl<'a> Measure<'a> {
    fn new(experiment: &'a Experiment) -> Self {
        let held_out = HeldOut::new(experiment);
        let scale = held_out.mean_square();
        let bootstrap = Bootstrap::new(experiment.config.seed, experiment.config.eval.prompts_per_concept);
        Self { experiment, held_out, scale, bootstrap }
    }

    /// Prompts of every concept.
    fn n(&self) -> usize {
        self.experiment.config.eval.prompts_per_concept
    }

    fn prompts(&self) -> &[Prompt] {
        self.held_out.prompts()
    }

    /// The model's error on every prompt, over all positions.
    fn errors<B: Kernels>(&self, model: &Transformer<B>, device: &B::Device) -> Vec<f64> {
        let predictions = predict(model, self.prompts(), device);
        let mean = |errors: Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64 / self.scale;
        self.held_out.squared_errors(&predictions).into_iter().map(mean).collect()
    }

    /// Means of one value a prompt: over all concepts, weighed by their priors, and for each.
    fn by_concept(&self, values: &[f64]) -> Vec<(Option<String>, Estimate)> {
        let concepts = self.experiment.task.concepts();
        let groups: Vec<&[f64]> = values.chunks_exact(self.n()).collect();
        let weighted: Vec<(f64, &[f64])> =
            concepts.iter().zip(&groups).map(|(concept, group)| (concept.weight, *group)).collect();
        let each = concepts
            .iter()
            .zip(groups)
            .map(|(concept, group)| (Some(concept.name.clone()), self.bootstrap.mean(group)));
        std::iter::once((None, self.bootstrap.weighted_mean(&weighted))).chain(each).collect()
    }
}

/// What is added by a change, prompt by prompt.
fn less(changed: &[f64], plain: &[f64]) -> Vec<f64> {
    changed.iter().zip(plain).map(|(changed, plain)| changed - plain).collect()
}
