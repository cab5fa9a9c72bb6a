//! Prompts of text by their index.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use rand::RngExt;
use rayon::prelude::*;

use super::{TextPair, TextPrompt, TextTask};
use crate::sampler::draw_concept;
use crate::{ConceptId, Stream};

/// Where the addresses of Null begin, out of reach of every other: no prompt of Null has the inputs of one with a concept
/// because it was drawn at the same address.
const NULL: u64 = 1 << 63;

/// Draws after which a stock that gave nothing new has nothing new: of a stock as large as the set the last one takes as
/// many draws as the stock is large, on average. A larger stock is not looked through for what earlier sets have.
const MOST_DRAWS: usize = 1_000_000;

/// Draws prompts of a task of text by their index in a stream.
///
/// Within a prompt nothing is repeated where the task says so. Sets of one purpose and size share no prompt where the task has
/// so few that they would; of more than a million, two sets are not compared.
#[derive(Clone, Debug)]
pub struct TextSampler {
    task: Arc<dyn TextTask>,
    stream: Stream,
}

impl TextSampler {
    /// A sampler of `task` on `stream`, whose purpose also says which part of a finite stock is drawn from.
    pub fn new(task: Arc<dyn TextTask>, stream: Stream) -> Self {
        Self { task, stream }
    }

    /// The task drawn from.
    pub fn task(&self) -> &Arc<dyn TextTask> {
        &self.task
    }

    /// The prompt at `index`, its concept drawn from the prior.
    pub fn prompt(&self, index: u64) -> TextPrompt {
        let mut rng = self.stream.rng(index);
        let concept = draw_concept(self.task.concepts(), rng.random());
        self.task.sample(concept, self.stream.purpose(), &mut rng)
    }

    /// The prompts at `indices`, in order, drawn in parallel: the same prompts as one by one.
    pub fn prompts(&self, indices: Range<u64>) -> Vec<TextPrompt> {
        indices.into_par_iter().map(|index| self.prompt(index)).collect()
    }

    /// `per_concept` prompts of every concept, concept by concept, as set number `set`. No prompt comes twice in a set, or of
    /// a small stock in the sets before it: one that came before is drawn again, from where its own numbers go on.
    ///
    /// No two sets share an address.
    ///
    /// # Panics
    /// When a concept has fewer different prompts than [`TextTask::stock`] says, or than all sets need.
    pub fn balanced(&self, set: u64, per_concept: usize) -> Vec<TextPrompt> {
        let purpose = self.stream.purpose();
        let stock = |concept| self.task.stock(ConceptId(concept), purpose);
        let is_scarce = (0..self.task.concepts().len()).filter_map(stock).any(|stock| stock <= MOST_DRAWS);
        let first = if is_scarce { 0 } else { set };
        let (mut seen, mut prompts) = (HashSet::new(), Vec::new());
        for set in first..=set {
            prompts = self.draw_unseen(set, per_concept, &mut seen);
        }
        prompts
    }

    /// Set number `set` of prompts that are not among those `seen`, which they join.
    fn draw_unseen(
        &self,
        set: u64,
        per_concept: usize,
        seen: &mut HashSet<(ConceptId, Vec<TextPair>)>,
    ) -> Vec<TextPrompt> {
        let total = self.task.concepts().len() * per_concept;
        let first = set * total as u64;
        let draw = |i: usize| {
            let mut rng = self.stream.rng(first + i as u64);
            (self.task.sample(ConceptId(i / per_concept), self.stream.purpose(), &mut rng), rng)
        };
        let drawn: Vec<_> = (0..total).into_par_iter().map(draw).collect();
        let mut prompts = Vec::with_capacity(total);
        for (mut prompt, mut rng) in drawn {
            let mut draws = 1;
            while !seen.insert((prompt.concept, prompt.pairs.clone())) {
                assert!(draws < MOST_DRAWS, "concept {} has not as many prompts as it said", prompt.concept.0);
                prompt = self.task.sample(prompt.concept, self.stream.purpose(), &mut rng);
                draws += 1;
            }
            prompts.push(prompt);
        }
        prompts
    }

    /// `count` prompts of Null as set number `set`; none where the task has no Null.
    pub fn null(&self, set: u64, count: usize) -> Option<Vec<TextPrompt>> {
        let null = self.task.null()?;
        let first = NULL + set * count as u64;
        Some((0..count).into_par_iter().map(|i| self.sample(null, first + i as u64)).collect())
    }

    fn sample(&self, concept: ConceptId, index: u64) -> TextPrompt {
        self.task.sample(concept, self.stream.purpose(), &mut self.stream.rng(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, TextTaskConfig};

    fn sampler(null: bool) -> TextSampler {
        let toml = format!(
            "kind = \"bitwise\"\nshots = [3]\ntemplate = \"{{input}} = {{output}}\\n\"\nnull = {null}\nnamed = false\n\
             place = \"prompt\"\nbits = 16"
        );
        let config = TextTaskConfig::read(&toml.parse().unwrap()).unwrap();
        TextSampler::new(config.build(&|_| unreachable!()).unwrap(), Stream::new(1, Purpose::Probe))
    }

    #[test]
    fn sampling_in_parallel_gives_the_bytes_of_sampling_in_order() {
        let in_order: Vec<_> = (40..104).map(|index| sampler(true).prompt(index)).collect();
        assert_eq!(sampler(true).prompts(40..104), in_order);
    }

    #[test]
    fn balanced_sets_have_every_concept_equally_and_share_no_prompt() {
        let (first, second) = (sampler(true).balanced(0, 2), sampler(true).balanced(1, 2));
        let concepts: Vec<_> = first.iter().map(|prompt| prompt.concept.0).collect();
        assert_eq!(concepts, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
        assert!(first.iter().all(|prompt| !second.contains(prompt)));
        assert!(sampler(false).balanced(0, 2).iter().all(|prompt| prompt.concept.0 < 6));
    }

    #[test]
    fn null_is_drawn_whether_it_counts_as_a_concept_or_not_and_has_inputs_of_its_own() {
        let inputs = |prompts: &[TextPrompt]| prompts.iter().map(|it| it.pairs[0].input.clone()).collect::<Vec<_>>();
        for counts in [false, true] {
            let (null, with_concept) = (sampler(counts).null(0, 8).unwrap(), sampler(counts).balanced(0, 8));
            assert!(null.iter().all(|prompt| prompt.concept == ConceptId(6)));
            let taken = inputs(&with_concept);
            assert!(inputs(&null).iter().all(|input| !taken.contains(input)));
            assert_ne!(null, sampler(counts).null(1, 8).unwrap());
        }
    }

    #[test]
    fn no_prompt_comes_twice_in_a_set() {
        let toml = "kind = \"bitwise\"\nshots = [0]\ntemplate = \"{input} = {output}\\n\"\nnull = false\nnamed = false\n\
            place = \"prompt\"\nbits = 1";
        let read = |_: &std::path::Path| Ok(Vec::new());
        let task = TextTaskConfig::read(&toml.parse().unwrap()).unwrap().build(&read).unwrap();
        assert_eq!(task.stock(ConceptId(0), Purpose::Probe), Some(4));
        let prompts = TextSampler::new(task.clone(), Stream::new(0, Purpose::Probe)).balanced(0, 4);
        let inputs = |concept: usize| {
            let mut inputs: Vec<&str> =
                prompts[4 * concept..4 * (concept + 1)].iter().map(|prompt| prompt.pairs[0].input.as_str()).collect();
            inputs.sort_unstable();
            inputs
        };
        assert!((0..6).all(|concept| inputs(concept) == ["0 0", "0 1", "1 0", "1 1"]));
        let sampler = TextSampler::new(task, Stream::new(1, Purpose::Probe));
        let mut both = [0, 1].map(|set| sampler.balanced(set, 2)).concat();
        both.retain(|prompt| prompt.concept.0 == 0);
        let mut inputs: Vec<&str> = both.iter().map(|prompt| prompt.pairs[0].input.as_str()).collect();
        inputs.sort_unstable();
        assert_eq!(inputs, ["0 0", "0 1", "1 0", "1 1"], "two sets of two share none");
    }
}
