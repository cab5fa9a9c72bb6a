//! Pairs of input and answer, as text.

use rand::Rng;

use crate::ConceptId;
use crate::prompt::exchange;

/// Pairs of text under one concept. After k demonstrations the query is pair k + 1, so that a prompt of n pairs is one of
/// every number of demonstrations below n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPrompt {
    /// The concept that the pairs share.
    pub concept: ConceptId,
    /// What names the concept ahead of the pairs; none where the model has to infer it.
    pub instruction: Option<String>,
    /// The pairs, in order.
    pub pairs: Vec<TextPair>,
}

/// An input and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TextPair {
    /// What is asked.
    pub input: String,
    /// The right answer, without space around it.
    pub answer: String,
}

impl TextPrompt {
    /// The prompt's first pairs.
    ///
    /// # Panics
    /// When it has fewer.
    pub fn first(&self, n_points: usize) -> Self {
        Self { pairs: self.pairs[..n_points].to_vec(), ..self.clone() }
    }

    /// The same prompt after `shots` demonstrations with their answers exchanged, so that none keeps its own: what
    /// answers say as a set is left, and which input each belongs to is lost. It ends with the query.
    ///
    /// # Panics
    /// When there are fewer than two demonstrations, or no query behind them.
    pub fn with_answers_permuted(&self, shots: usize, rng: &mut dyn Rng) -> Self {
        let mut permuted = self.first(shots + 1);
        exchange(shots, rng, |a, b| {
            let [a, b] = permuted.pairs.get_disjoint_mut([a, b]).expect("two places of the prompt");
            std::mem::swap(&mut a.answer, &mut b.answer);
        });
        permuted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, Stream};

    #[test]
    fn permuted_answers_are_the_same_answers_at_other_inputs() {
        let pair = |i: usize| TextPair { input: format!("in {i}"), answer: format!("out {i}") };
        let prompt = TextPrompt { concept: ConceptId(0), instruction: None, pairs: (0..6).map(pair).collect() };
        for index in 0..50 {
            let permuted = prompt.with_answers_permuted(4, &mut Stream::new(0, Purpose::Shuffle).rng(index));
            assert_eq!(permuted.pairs[4], prompt.pairs[4], "the query keeps its answer");
            let demonstrations = permuted.pairs[..4].iter().zip(&prompt.pairs);
            assert!(demonstrations.clone().all(|(new, old)| new.input == old.input && new.answer != old.answer));
            let mut answers: Vec<&str> = demonstrations.map(|(new, _)| new.answer.as_str()).collect();
            answers.sort_unstable();
            assert_eq!(answers, ["out 0", "out 1", "out 2", "out 3"]);
        }
    }
}
