//! What a task is.

use std::fmt::Debug;

use rand::Rng;

use crate::{Concept, ConceptId, Predictor, Prompt, PromptShape};

/// A distribution over prompts with a latent concept.
///
/// Everything downstream (training, resuming, decodability, figures, report) needs only this trait, so a task of your
/// own gets all of it by implementing three methods and being named in a [`TaskRegistry`](crate::TaskRegistry).
pub trait Task: Debug + Send + Sync {
    /// Size of every prompt.
    fn shape(&self) -> PromptShape;

    /// The concepts with their names and prior weights, which sum to one. Never empty.
    fn concepts(&self) -> &[Concept];

    /// Draws a prompt under `concept`, with all its randomness from `rng`: the same generator gives the same prompt.
    fn sample(&self, concept: ConceptId, rng: &mut dyn Rng) -> Prompt;

    /// Closed-form references: figures and summaries show their errors as levels beside the model's. None by default.
    fn predictors(&self) -> Vec<Box<dyn Predictor>> {
        Vec::new()
    }

    /// Closed-form algorithms that are no levels, such as the lasso: the model's predictions are compared with theirs,
    /// as with those of [`predictors`](Self::predictors). None by default.
    fn algorithms(&self) -> Vec<Box<dyn Predictor>> {
        Vec::new()
    }
}
