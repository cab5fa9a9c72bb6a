//! A task of either form.

use std::sync::Arc;

use data::{Concept, ConceptId, Purpose, Sampler, Stream, Task, TextPrompt, TextTask};

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
    pub(crate) fn balanced(&self, seed: u64, purpose: Purpose, set: u64, per_concept: usize) -> Prompts {
        match self {
            Self::Pairs(task) => {
                Sampler::new(task.clone(), Stream::new(seed, purpose)).balanced(set, per_concept).into()
            }
            Self::Text(task) => {
                let concepts: Vec<ConceptId> = (0..task.concepts().len())
                    .flat_map(|concept| std::iter::repeat_n(ConceptId(concept), per_concept))
                    .collect();
                draw(task.as_ref(), seed, purpose, set, &concepts).into()
            }
        }
    }

    /// Set number `set` of `count` Null prompts; none where the task has no Null.
    pub(crate) fn null(&self, seed: u64, purpose: Purpose, set: u64, count: usize) -> Option<Prompts> {
        match self {
            Self::Pairs(_) => None,
            Self::Text(task) => Some(draw(task.as_ref(), seed, purpose, set, &vec![task.null()?; count]).into()),
        }
    }
}

/// Set number `set` of prompts of text, one of every concept in the list. As [`Sampler::balanced`], prompt number i of the
/// set has the address set · (prompts of a set) + i.
fn draw(task: &dyn TextTask, seed: u64, purpose: Purpose, set: u64, concepts: &[ConceptId]) -> Vec<TextPrompt> {
    let stream = Stream::new(seed, purpose);
    let first = set * concepts.len() as u64;
    let sample = |(index, &concept)| task.sample(concept, purpose, &mut stream.rng(index));
    (first..).zip(concepts).map(sample).collect()
}
