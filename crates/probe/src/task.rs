//! A task of either form.

use std::sync::Arc;

use data::{Concept, ConceptId, Purpose, Sampler, Stream, Task, TaskError, TextSampler, TextTask};

use crate::Prompts;

/// What prompts are drawn from: a task of numbers, or one of text.
#[derive(Clone, Debug)]
pub enum AnyTask {
    /// Its prompts are pairs of numbers.
    Pairs(Arc<dyn Task>),
    /// Its prompts are text.
    Text(Arc<dyn TextTask>),
}

impl AnyTask {
    /// Pairs of a prompt.
    pub fn n_points(&self) -> usize {
        match self {
            Self::Pairs(task) => task.shape().n_points,
            Self::Text(task) => task.n_points(),
        }
    }

    /// The concepts, in the task's order.
    pub fn concepts(&self) -> &[Concept] {
        match self {
            Self::Pairs(task) => task.concepts(),
            Self::Text(task) => task.concepts(),
        }
    }

    /// The task, of numbers.
    ///
    /// # Panics
    /// When it is one of text.
    pub fn pairs(&self) -> &Arc<dyn Task> {
        match self {
            Self::Pairs(task) => task,
            Self::Text(_) => panic!("the task must be one of pairs of numbers, but is one of text"),
        }
    }

    /// The task, of text.
    ///
    /// # Panics
    /// When it is one of pairs of numbers.
    pub fn text(&self) -> &Arc<dyn TextTask> {
        match self {
            Self::Text(task) => task,
            Self::Pairs(_) => panic!("the task must be one of text, but is one of pairs of numbers"),
        }
    }

    /// Set number `set` of prompts, `per_concept` of every concept, concept by concept. No two sets share a prompt's
    /// randomness.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub(crate) fn balanced(
        &self,
        seed: u64,
        purpose: Purpose,
        set: u64,
        per_concept: usize,
    ) -> Result<Prompts, TaskError> {
        let stream = Stream::new(seed, purpose);
        Ok(match self {
            Self::Pairs(task) => Sampler::new(task.clone(), stream).balanced(set, per_concept)?.into(),
            Self::Text(task) => TextSampler::new(task.clone(), stream).balanced(set, per_concept).into(),
        })
    }

    /// A twin of every prompt of a balanced set of numbers, as [`Sampler::twins`].
    ///
    /// # Errors
    /// When the task cannot make them.
    pub(crate) fn twins(
        &self,
        seed: u64,
        purpose: Purpose,
        set: u64,
        per_concept: usize,
    ) -> Result<Prompts, TaskError> {
        let sampler = Sampler::new(self.pairs().clone(), Stream::new(seed, purpose));
        Ok(sampler.twins(set, per_concept)?.into())
    }

    /// How many different prompts of `concept` there are for `purpose`, where they are not without end.
    pub(crate) fn stock(&self, concept: ConceptId, purpose: Purpose) -> Option<usize> {
        match self {
            Self::Pairs(task) => task.stock(concept, purpose),
            Self::Text(task) => task.stock(concept, purpose),
        }
    }

    /// Set number `set` of `count` Null prompts; none where the task has no Null.
    pub(crate) fn null(&self, seed: u64, purpose: Purpose, set: u64, count: usize) -> Option<Prompts> {
        match self {
            Self::Pairs(_) => None,
            Self::Text(task) => {
                let sampler = TextSampler::new(task.clone(), Stream::new(seed, purpose));
                sampler.null(set, count).map(Prompts::from)
            }
        }
    }
}
