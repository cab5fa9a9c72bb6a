//! What a task is.

use std::fmt::Debug;

use rand::{Rng, RngExt};

use crate::sampler::draw_concept;
use crate::{Concept, ConceptId, Predictor, Prompt, PromptShape, Purpose, Stream, TaskError};

/// Which prompts are asked for: some that follow each other in a stream.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// The stream.
    pub stream: Stream,
    /// Index of the first of them.
    pub first: u64,
    /// How many there are.
    pub count: usize,
    /// The concept of all of them; none where the prior says it, prompt by prompt.
    pub concept: Option<ConceptId>,
    /// How many prompts of that concept come before the first, or of all concepts where the prior says it. Prompts of a
    /// stock go by this number, which leaves out none.
    pub before: u64,
}

impl Draws {
    /// Samples every prompt with a generator of its own, which also draws its concept where the prior says it.
    pub(crate) fn each(
        &self,
        concepts: &[Concept],
        mut sample: impl FnMut(ConceptId, &mut dyn Rng) -> Prompt,
    ) -> Vec<Prompt> {
        let draw = |index| {
            let mut rng = self.stream.rng(index);
            let concept = self.concept.unwrap_or_else(|| draw_concept(concepts, rng.random()));
            sample(concept, &mut rng)
        };
        (self.first..).take(self.count).map(draw).collect()
    }
}

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

    /// The prompts at some addresses: by [`sample`](Self::sample), with a generator of its own for every prompt. A task whose
    /// prompts come from elsewhere, from a file or another program, says here how. The same address gives the same prompt,
    /// whichever are asked for with it.
    ///
    /// # Errors
    /// When they cannot be had.
    fn draw(&self, draws: &Draws) -> Result<Vec<Prompt>, TaskError> {
        Ok(draws.each(self.concepts(), |concept, rng| self.sample(concept, rng)))
    }

    /// How many prompts of `concept` there are for `purpose`, where they are not without end.
    fn stock(&self, _concept: ConceptId, _purpose: Purpose) -> Option<usize> {
        None
    }

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
