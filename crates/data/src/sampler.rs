//! Prompts by their index.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::{Concept, ConceptId, Draws, Prompt, Stream, Task, TaskError};

/// Prompts that one thread draws before it looks for more.
const PIECE: usize = 64;

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

    /// The prompts at `indices`, in order, their concepts drawn from the prior, all on this thread.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub fn in_turn(&self, indices: Range<u64>) -> Result<Vec<Prompt>, TaskError> {
        self.task.draw(&self.draws(indices.start, (indices.end - indices.start) as usize))
    }

    /// The same as [`in_turn`](Self::in_turn), drawn in parallel.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub fn prompts(&self, indices: Range<u64>) -> Result<Vec<Prompt>, TaskError> {
        let firsts: Vec<u64> = indices.clone().step_by(PIECE).collect();
        let piece = |first: u64| self.in_turn(first..indices.end.min(first + PIECE as u64));
        in_order(firsts.into_par_iter().map(piece).collect())
    }

    /// `per_concept` prompts of every concept, concept by concept, as resample number `resample`.
    ///
    /// No two resamples share a prompt.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub fn balanced(&self, resample: u64, per_concept: usize) -> Result<Vec<Prompt>, TaskError> {
        self.set(resample, per_concept, PIECE, |concept, _| concept)
    }

    /// A twin of every prompt of [`balanced`](Self::balanced): the prompt at the same address under another concept. Where
    /// prompts are sampled, it has the same random numbers. The twins of a concept's prompts go over the other concepts in
    /// turn.
    ///
    /// # Errors
    /// When the task cannot make them.
    ///
    /// # Panics
    /// When the task has one concept.
    pub fn twins(&self, resample: u64, per_concept: usize) -> Result<Vec<Prompt>, TaskError> {
        let n_concepts = self.task.concepts().len();
        assert!(n_concepts > 1, "a twin is of another concept");
        let other = |concept, within| (concept + 1 + within % (n_concepts - 1)) % n_concepts;
        self.set(resample, per_concept, 1, other)
    }

    /// The addresses of a balanced resample in pieces, the concept of each piece being a function of the concept whose
    /// addresses they are and of the place of its first among them.
    fn set(
        &self,
        resample: u64,
        per_concept: usize,
        piece: usize,
        concept_at: impl Fn(usize, usize) -> usize + Sync,
    ) -> Result<Vec<Prompt>, TaskError> {
        let n_concepts = self.task.concepts().len();
        let draw = |(concept, within): (usize, usize)| {
            let first = (resample * n_concepts as u64 + concept as u64) * per_concept as u64 + within as u64;
            let before = resample * per_concept as u64 + within as u64;
            let count = piece.min(per_concept - within);
            let concept = Some(ConceptId(concept_at(concept, within)));
            self.task.draw(&Draws { concept, before, ..self.draws(first, count) })
        };
        let pieces = (0..n_concepts).flat_map(|concept| (0..per_concept).step_by(piece).map(move |at| (concept, at)));
        let pieces: Vec<_> = pieces.collect();
        in_order(pieces.into_par_iter().map(draw).collect())
    }

    fn draws(&self, first: u64, count: usize) -> Draws {
        Draws { stream: self.stream, first, count, concept: None, before: first }
    }
}

/// The prompts of all pieces, or the first error in their order, whichever thread was first.
fn in_order(pieces: Vec<Result<Vec<Prompt>, TaskError>>) -> Result<Vec<Prompt>, TaskError> {
    Ok(pieces.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
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
    fn sampling_in_parallel_gives_the_bytes_of_sampling_one_by_one() {
        let one = |index| sampler().in_turn(index..index + 1).unwrap();
        assert_eq!(sampler().prompts(40..304).unwrap(), (40..304).flat_map(one).collect::<Vec<_>>());
        let set = sampler().balanced(2, 70).unwrap();
        let task = sampler().task().clone();
        let alone = |i: u64| task.sample(ConceptId(i as usize / 70), &mut sampler().stream.rng(2 * 280 + i));
        assert_eq!(set, (0..280).map(alone).collect::<Vec<_>>());
    }

    #[test]
    fn twins_have_the_same_numbers_under_every_other_concept_in_turn() {
        let (set, twins) = (sampler().balanced(1, 6).unwrap(), sampler().twins(1, 6).unwrap());
        let concepts: Vec<_> = twins.iter().map(|twin| twin.concept.0).collect();
        assert_eq!(concepts[..6], [1, 2, 3, 1, 2, 3]);
        assert_eq!(concepts[18..], [0, 1, 2, 0, 1, 2]);
        for (prompt, twin) in set.iter().zip(&twins) {
            assert_eq!(prompt.xs, twin.xs);
            assert_ne!(prompt.ys, twin.ys);
        }
    }

    #[test]
    fn concepts_come_as_often_as_their_weights_say() {
        let prompts = sampler().prompts(0..4000).unwrap();
        let share = |id| prompts.iter().filter(|prompt| prompt.concept == ConceptId(id)).count() as f64 / 4000.0;
        // Three standard errors of a share of 0.75 over 4,000 draws.
        assert!((share(0) - 0.75).abs() < 0.021, "{}", share(0));
        assert_eq!((share(2), share(3)), (0.0, 0.0));
    }

    #[test]
    fn balanced_resamples_have_every_concept_equally_and_share_no_prompt() {
        let [first, second] = [0, 1].map(|resample| sampler().balanced(resample, 5).unwrap());
        let concepts: Vec<_> = first.iter().map(|prompt| prompt.concept.0).collect();
        assert_eq!(concepts, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]);
        assert!(first.iter().all(|prompt| !second.contains(prompt)));
    }
}
