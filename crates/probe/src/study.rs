//! What is asked, apart from how a model was made.

use std::sync::Arc;

use data::{Concept, ConceptId, Prompt, Purpose, Stream, Task, TaskError, TextPrompt, TextTask, Token};
use rand::seq::SliceRandom;

use crate::{AnyTask, Delivery, Prompts, Representations};
use crate::{EvalConfig, Layer, Probe, ProbeConfig, ProbeError, Subject, SubjectError, Wanted, probes};

/// Where the addresses of permuted answers begin, out of reach of those of permuted labels.
const PERMUTED_ANSWERS: u64 = 1 << 63;

/// Where the addresses of permuted ys of held-out prompts begin, out of reach of both.
const PERMUTED_YS: u64 = 1 << 61;

/// A task, and how errors and decodability are measured on it.
#[derive(Clone, Debug)]
pub struct Study {
    /// Seed of every prompt that is drawn.
    pub seed: u64,
    /// What prompts are drawn from.
    pub task: AnyTask,
    /// How errors are measured.
    pub eval: EvalConfig,
    /// How the concept is read.
    pub probe: ProbeConfig,
    /// The tokens whose states are probed.
    pub tokens: Vec<Token>,
}

impl Study {
    /// Checks the settings for prompts of `task`.
    ///
    /// # Errors
    /// When a field is outside its range.
    pub fn new(seed: u64, task: Arc<dyn Task>, eval: EvalConfig, probe: ProbeConfig) -> Result<Self, ProbeError> {
        eval.check()?;
        probe.check(task.concepts().len())?;
        let tokens = probe.tokens_of(task.shape().n_points)?;
        let study = Self { seed, task: AnyTask::Pairs(task), eval, probe, tokens };
        study.check_stock("eval.prompts_per_concept", Purpose::Eval, study.eval.prompts_per_concept)?;
        study.check_probed(study.probe.prompts_per_concept)?;
        Ok(study)
    }

    /// Checks the settings for prompts of text. The probed tokens are the queries after as many demonstrations as `shots`
    /// says, in its order: after k of them, the x token of pair k + 1. So `probe.tokens` has to be empty.
    ///
    /// # Errors
    /// When a field is outside its range; when `shots` is empty, names a number twice, or one that leaves no query.
    pub fn of_text(
        seed: u64,
        task: Arc<dyn TextTask>,
        eval: EvalConfig,
        probe: ProbeConfig,
        shots: &[usize],
    ) -> Result<Self, ProbeError> {
        eval.check()?;
        probe.check(task.concepts().len())?;
        let tokens = probe.tokens_after(shots, task.n_points())?;
        let study = Self { seed, task: AnyTask::Text(task), eval, probe, tokens };
        study.check_stock("eval.prompts_per_concept", Purpose::Eval, study.eval.prompts_per_concept)?;
        study.check_probed(study.probe.prompts_per_concept)?;
        Ok(study)
    }

    /// Checks that there are prompts for resamples of `per_concept` of every concept, which share none.
    ///
    /// # Errors
    /// When a concept has fewer.
    pub fn check_probed(&self, per_concept: usize) -> Result<(), ProbeError> {
        let prompts = per_concept.saturating_mul(self.probe.resamples);
        self.check_stock("probe.prompts_per_concept times probe.resamples", Purpose::Probe, prompts)
    }

    /// Checks that every concept has `per_concept` different prompts for `purpose`.
    ///
    /// # Errors
    /// When one has fewer; names `field`.
    pub fn check_stock(&self, field: &str, purpose: Purpose, per_concept: usize) -> Result<(), ProbeError> {
        for (concept, id) in self.concepts().iter().zip((0..).map(ConceptId)) {
            let Some(stock) = self.task.stock(id, purpose) else { continue };
            let range = format!("at most the number of different prompts there are of {} ({stock})", concept.name);
            ProbeError::check(field, range, per_concept, per_concept <= stock)?;
        }
        Ok(())
    }

    /// Pairs of a prompt.
    pub fn n_points(&self) -> usize {
        self.task.n_points()
    }

    /// The concepts, in the task's order.
    pub fn concepts(&self) -> &[Concept] {
        self.task.concepts()
    }

    /// Accuracy of guessing the concept of balanced prompts.
    pub fn chance(&self) -> f64 {
        1.0 / self.concepts().len() as f64
    }

    /// The probes that the settings name, in their order.
    pub fn probes(&self) -> Vec<Box<dyn Probe>> {
        probes(&self.probe)
    }

    /// The prompts that errors are measured on, the same number of every concept, concept by concept.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub fn held_out(&self) -> Result<Prompts, TaskError> {
        self.balanced(Purpose::Eval, 0, self.eval.prompts_per_concept)
    }

    /// The held-out prompts with the ys of the pairs before the query permuted inside each prompt, as
    /// [`Prompt::with_ys_permuted`](data::Prompt::with_ys_permuted).
    ///
    /// # Errors
    /// When the task cannot make them.
    ///
    /// # Panics
    /// When the study is of text, or its prompts have fewer than three pairs.
    pub fn held_out_permuted(&self) -> Result<Prompts, TaskError> {
        let (stream, prompts) = (Stream::new(self.seed, Purpose::Shuffle), self.held_out()?);
        let permute = |(index, prompt): (u64, &Prompt)| prompt.with_ys_permuted(&mut stream.rng(PERMUTED_YS + index));
        Ok((0..).zip(prompts.pairs()).map(permute).collect::<Vec<_>>().into())
    }

    /// The prompts of resample number `resample`, the same number of every concept, concept by concept.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub fn resample(&self, resample: usize) -> Result<Prompts, TaskError> {
        self.balanced(Purpose::Probe, resample as u64, self.probe.prompts_per_concept)
    }

    /// The prompts of every resample.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub fn resamples(&self) -> Result<Vec<Prompts>, TaskError> {
        (0..self.probe.resamples).map(|resample| self.resample(resample)).collect()
    }

    /// Set number `set` of prompts for `purpose`, `per_concept` of every concept, concept by concept.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub fn balanced(&self, purpose: Purpose, set: u64, per_concept: usize) -> Result<Prompts, TaskError> {
        self.task.balanced(self.seed, purpose, set, per_concept)
    }

    /// A twin of every prompt of [`balanced`](Self::balanced): the one at the same address under another concept.
    ///
    /// # Errors
    /// When the task cannot make them.
    ///
    /// # Panics
    /// When the study is of text, or of one concept.
    pub fn twins(&self, purpose: Purpose, set: u64, per_concept: usize) -> Result<Prompts, TaskError> {
        self.task.twins(self.seed, purpose, set, per_concept)
    }

    /// Set number `set` of `count` Null prompts for `purpose`, whose answers follow no concept; none where the task has no
    /// Null, as tasks of numbers have none.
    pub fn null(&self, purpose: Purpose, set: u64, count: usize) -> Option<Prompts> {
        self.task.null(self.seed, purpose, set, count)
    }

    /// The labels of resample number `resample` as the control with permuted labels has them.
    pub fn shuffled(&self, labels: &[usize], resample: usize) -> Vec<usize> {
        let mut shuffled = labels.to_vec();
        shuffled.shuffle(&mut Stream::new(self.seed, Purpose::Shuffle).rng(resample as u64));
        shuffled
    }

    /// The prompts of resample number `resample` after `shots` demonstrations whose answers are permuted inside each prompt,
    /// as [`TextPrompt::with_answers_permuted`](data::TextPrompt::with_answers_permuted).
    ///
    /// # Errors
    /// When the task cannot make them.
    ///
    /// # Panics
    /// When the study is of pairs of numbers, or there are fewer than two demonstrations or no query behind them.
    pub fn with_answers_permuted(&self, resample: usize, shots: usize) -> Result<Prompts, TaskError> {
        let (stream, prompts) = (Stream::new(self.seed, Purpose::Shuffle), self.resample(resample)?);
        let first = PERMUTED_ANSWERS + ((shots as u64) << 48) + (resample * prompts.len()) as u64;
        let permute = |(index, prompt): (u64, &TextPrompt)| prompt.with_answers_permuted(shots, &mut stream.rng(index));
        Ok((first..).zip(prompts.text()).map(permute).collect::<Vec<_>>().into())
    }

    /// Hands over the residual stream of every resample at the probed tokens, and at `layers` (none for all), in the
    /// subject's order, with the number of the resample.
    ///
    /// # Errors
    /// When the model cannot be read.
    pub fn read(
        &self,
        subject: &dyn Subject,
        layers: &[Layer],
        mut each: impl FnMut(usize, Representations),
    ) -> Result<(), SubjectError> {
        let wanted = Wanted { layers: layers.to_vec(), ..Wanted::residual(&self.tokens) };
        subject.read(&self.resamples()?, &wanted, &mut |Delivery { group, states, .. }| each(group, states))
    }
}

#[cfg(test)]
mod tests {
    use data::TextPair;
    use rand::{Rng, RngExt};

    use super::*;
    use crate::{ProbeKind, ProbeToken};

    /// Two concepts and Null behind them; answers say which concept, for what, and what was drawn.
    #[derive(Debug)]
    struct Task([Concept; 2]);

    impl TextTask for Task {
        fn n_points(&self) -> usize {
            5
        }

        fn concepts(&self) -> &[Concept] {
            &self.0
        }

        fn null(&self) -> Option<ConceptId> {
            Some(ConceptId(2))
        }

        fn sample(&self, concept: ConceptId, purpose: Purpose, rng: &mut dyn Rng) -> TextPrompt {
            let answer = format!("{} {purpose:?} {}", concept.0, rng.random::<u32>());
            let pair = TextPair { input: String::new(), answer };
            TextPrompt { concept, instruction: None, pairs: vec![pair; self.n_points()] }
        }
    }

    fn study(tokens: Vec<ProbeToken>, shots: &[usize]) -> Result<Study, ProbeError> {
        let concept = |name: &str| Concept { name: name.to_owned(), weight: 0.5 };
        let probe = ProbeConfig {
            probes: vec![ProbeKind::CD],
            neighbours: 3,
            folds: 2,
            ridge: 1.0,
            shrinkage: 0.1,
            prompts_per_concept: 3,
            resamples: 2,
            tokens,
        };
        let task = Arc::new(Task(["a", "b"].map(concept)));
        Study::of_text(7, task, EvalConfig { prompts_per_concept: 4 }, probe, shots)
    }

    #[test]
    fn prompts_of_text_are_balanced_and_no_two_sets_share_a_draw() {
        let study = study(Vec::new(), &[4, 0, 2]).unwrap();
        assert_eq!(study.tokens, [Token::X(5), Token::X(1), Token::X(3)]);
        assert_eq!(study.held_out().unwrap().labels(), [0, 0, 0, 0, 1, 1, 1, 1]);
        let sets = study.resamples().unwrap();
        assert_eq!(sets, [0, 1].map(|resample| study.resample(resample).unwrap()));
        let drawn = sets.iter().flat_map(Prompts::text).map(|prompt| prompt.pairs[0].answer.clone());
        let drawn: Vec<String> = drawn.collect();
        assert!(drawn.iter().enumerate().all(|(i, one)| !drawn[..i].contains(one)), "{drawn:?}");
        // The second prompt of concept 1 in the second resample: number 6 + 4 of its purpose.
        let at = Stream::new(7, Purpose::Probe).rng(10).random::<u32>();
        assert_eq!(sets[1].text()[4].pairs[0].answer, format!("1 Probe {at}"));
    }

    #[test]
    fn permuted_answers_have_addresses_of_their_own() {
        let study = study(Vec::new(), &[4]).unwrap();
        let prompts = study.resample(1).unwrap();
        let permuted = study.with_answers_permuted(1, 3).unwrap();
        assert_eq!(permuted, study.with_answers_permuted(1, 3).unwrap());
        assert_eq!((permuted.labels(), permuted.text()[0].pairs.len()), (prompts.labels(), 4));
        let index = (1 << 63) + (3 << 48) + 6 + 2;
        let rng = &mut Stream::new(7, Purpose::Shuffle).rng(index);
        assert_eq!(permuted.text()[2], prompts.text()[2].with_answers_permuted(3, rng));
    }

    #[test]
    fn null_is_drawn_where_the_task_has_it() {
        let study = study(Vec::new(), &[4]).unwrap();
        let null = study.null(Purpose::Patch, 1, 3).unwrap();
        assert_eq!(null.labels(), [2, 2, 2]);
        // Behind the addresses of every prompt with a concept.
        let at = Stream::new(7, Purpose::Patch).rng((1 << 63) + 3).random::<u32>();
        assert_eq!(null.text()[0].pairs[0].answer, format!("2 Patch {at}"));
    }

    #[test]
    fn text_is_probed_where_shots_say_and_nowhere_else() {
        let refused = |tokens: Vec<ProbeToken>, shots: &[usize]| study(tokens, shots).unwrap_err().to_string();
        let range = "shots must be a list of numbers from 0 to 4 in which none comes twice, but is";
        for (shots, found) in [(&[][..], "[]"), (&[5], "[5]"), (&[1, 1], "[1, 1]")] {
            assert_eq!(refused(Vec::new(), shots), format!("{range} {found}"));
        }
        assert_eq!(
            refused(vec![ProbeToken::QueryX], &[4]),
            "probe.tokens must be empty for prompts of text, which are probed where shots says, but is [query_x]"
        );
    }
}
