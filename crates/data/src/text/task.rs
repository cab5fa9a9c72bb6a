//! What a task of text is.

use std::fmt::Debug;

use rand::Rng;

use super::TextPrompt;
use crate::{Concept, ConceptId, Purpose};

/// A distribution over prompts of text with a latent concept.
///
/// Beside its concepts a task may have *Null*: prompts whose answers follow no concept, for interventions.
pub trait TextTask: Debug + Send + Sync {
    /// Pairs of every prompt: one more than the most demonstrations.
    fn n_points(&self) -> usize;

    /// The concepts with their names and prior weights, which sum to one. Never empty.
    fn concepts(&self) -> &[Concept];

    /// Under which concept [`sample`](Self::sample) draws Null; none where the task has no Null. It need not be one of
    /// [`concepts`](Self::concepts).
    fn null(&self) -> Option<ConceptId>;

    /// Draws a prompt under `concept`, with all its randomness from `rng`. A task with a finite stock draws the prompts to
    /// train on from one part of it and those of every other purpose from another.
    fn sample(&self, concept: ConceptId, purpose: Purpose, rng: &mut dyn Rng) -> TextPrompt;

    /// How many different prompts there are under `concept` for `purpose`, where they are so few that a set of prompts could
    /// need more.
    fn stock(&self, _concept: ConceptId, _purpose: Purpose) -> Option<usize> {
        None
    }
}
