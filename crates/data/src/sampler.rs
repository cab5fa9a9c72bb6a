//! Prompts by their index.

use std::ops::Range;
use std::sync::Arc;

use rand::RngExt;
use rayon::prelude::*;

use crate::{Concept, ConceptId, Prompt, Stream, Task};

/// Draws prompts of a task by their index in a stream.
#[derive(Clone, Debug)]
pub struct Sampler {
    task: Arc<dyn Task>,
    stream: Stream,
}

impl Sampler {
    /// A sampler of `task` on `stream`.
    pub fn new(task: Arc<dyn Task>, stream: Stream) -> Self {
        Self { task, stream }
    }

    /// The task drawn from.
    pub fn task(&self) -> &Arc<dyn Task> {
        &self.task
    }

    /// The prompt at `index`, its concept drawn from the prior.
    pub fn prompt(&self, index: u64) -> Prompt {
        let mut rng = self.stream.rng(index);
        let concept = draw_concept(self.task.concepts(), rng.random());
        self.task.sample(concept, &mut rng)
    }

    /// The prompts at `indices`, in order, drawn in parallel: the same prompts as one by one.
    pub fn prompts(&self, indices: Range<u64>) -> Vec<Prompt> {
        indices.into_par_iter().map(|index| self.prompt(index)).collect()
    }

    /// `per_concept` prompts of every concept, concept by concept, as resample number `resample`.
    ///
    /// No two resamples share a prompt.
    pub fn balanced(&self, resample: u64, per_concept: usize) -> Vec<Prompt> {
        let total = self.task.concepts().len() * per_concept;
        let draw = |i: usize| {
            let mut rng = self.stream.rng(resample * total as u64 + i as u64);
            self.task.sample(ConceptId(i / per_concept), &mut rng)
        };
        (0..total).into_par_iter().map(draw).collect()
    }
}

/// The concept at `uniform`, a number of 0 … 1, when the prior's weights are laid end to end.
pub(crate) fn draw_concept(concepts: &[Concept], uniform: f64) -> ConceptId {
    let mut below = 0.0;
    for (id, concept) in concepts.iter().enumerate() {
        below += concept.weight;
        if uniform < below {
            return ConceptId(id);
        }
    }
    // Rounding can leave the sum just short of one; the remainder belongs to the last concept that can occur.
    ConceptId(concepts.iter().rposition(|concept| concept.weight > 0.0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, SparseRegressionConfig};

    fn sampler() -> Sampler {
        let config =
            SparseRegressionConfig { weights: Some(vec![3.0, 1.0, 0.0, 0.0]), ..SparseRegressionConfig::paper() };
        Sampler::new(Arc::new(config.build().unwrap()), Stream::new(1, Purpose::Train))
    }

    #[test]
    fn sampling_in_parallel_gives_the_bytes_of_sampling_in_order() {
        let in_order: Vec<_> = (40..104).map(|index| sampler().prompt(index)).collect();
        assert_eq!(sampler().prompts(40..104), in_order);
    }

    #[test]
    fn concepts_come_as_often_as_their_weights_say() {
        let prompts = sampler().prompts(0..4000);
        let share = |id| prompts.iter().filter(|prompt| prompt.concept == ConceptId(id)).count() as f64 / 4000.0;
        // Three standard errors of a share of 0.75 over 4,000 draws.
        assert!((share(0) - 0.75).abs() < 0.021, "{}", share(0));
        assert_eq!((share(2), share(3)), (0.0, 0.0));
    }

    #[test]
    fn balanced_resamples_have_every_concept_equally_and_share_no_prompt() {
        let (first, second) = (sampler().balanced(0, 5), sampler().balanced(1, 5));
        let concepts: Vec<_> = first.iter().map(|prompt| prompt.concept.0).collect();
        assert_eq!(concepts, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]);
        assert!(first.iter().all(|prompt| !second.contains(prompt)));
    }
}
