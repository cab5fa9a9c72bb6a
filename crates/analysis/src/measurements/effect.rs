//! What becomes of the error when something in the model is changed.

use data::TaskError;
use probe::{Answers, Prompts, Study};

use super::held_out::HeldOut;
use super::interval::{Bootstrap, Estimate};

/// The held-out prompts as the effect of a change is measured on them: one error a prompt, divided by E\[y²\].
pub(super) struct Effect<'a> {
    study: &'a Study,
    held_out: HeldOut<'a>,
    pub(super) scale: f64,
    pub(super) bootstrap: Bootstrap,
}

impl<'a> Effect<'a> {
    pub(super) fn new(study: &'a Study) -> Result<Self, TaskError> {
        let held_out = HeldOut::new(study)?;
        let scale = held_out.mean_square();
        let bootstrap = Bootstrap::new(study.seed, study.eval.prompts_per_concept);
        Ok(Self { study, held_out, scale, bootstrap })
    }

    /// Prompts of every concept.
    pub(super) fn n(&self) -> usize {
        self.study.eval.prompts_per_concept
    }

    pub(super) fn prompts(&self) -> &Prompts {
        self.held_out.prompts()
    }

    /// The error of the answers to every prompt, over all positions.
    pub(super) fn errors(&self, answers: &Answers) -> Vec<f64> {
        let mean = |errors: Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64 / self.scale;
        self.held_out.squared_errors(answers.numbers()).into_iter().map(mean).collect()
    }

    /// The error of the answer to the last pair of every prompt.
    pub(super) fn last_errors(&self, answers: &Answers) -> Vec<f64> {
        let last = |errors: Vec<f64>| errors[errors.len() - 1] / self.scale;
        self.held_out.squared_errors(answers.numbers()).into_iter().map(last).collect()
    }

    /// Means of one value a prompt: over all concepts, weighed by their priors, and for each.
    pub(super) fn by_concept(&self, values: &[f64]) -> Vec<(Option<String>, Estimate)> {
        let concepts = self.study.concepts();
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
pub(super) fn less(changed: &[f64], plain: &[f64]) -> Vec<f64> {
    changed.iter().zip(plain).map(|(changed, plain)| changed - plain).collect()
}
