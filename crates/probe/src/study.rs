//! What is asked, apart from how a model was made.

use std::sync::Arc;

use data::{Concept, Prompt, Purpose, Sampler, Stream, Task, Token};
use rand::seq::SliceRandom;

use crate::{Delivery, Representations};
use crate::{EvalConfig, Layer, Probe, ProbeConfig, ProbeError, Subject, SubjectError, Wanted, probes};

/// A task, and how errors and decodability are measured on it.
#[derive(Clone, Debug)]
pub struct Study {
    /// Seed of every prompt that is drawn.
    pub seed: u64,
    /// What prompts are drawn from.
    pub task: Arc<dyn Task>,
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
        let tokens = probe.check(task.shape().n_points, task.concepts().len())?;
        Ok(Self { seed, task, eval, probe, tokens })
    }

    /// Pairs of a prompt.
    pub fn n_points(&self) -> usize {
        self.task.shape().n_points
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
    pub fn held_out(&self) -> Vec<Prompt> {
        self.balanced(Purpose::Eval, 0, self.eval.prompts_per_concept)
    }

    /// The prompts of resample number `resample`, the same number of every concept, concept by concept.
    pub fn resample(&self, resample: usize) -> Vec<Prompt> {
        self.balanced(Purpose::Probe, resample as u64, self.probe.prompts_per_concept)
    }

    /// The prompts of every resample.
    pub fn resamples(&self) -> Vec<Vec<Prompt>> {
        (0..self.probe.resamples).map(|resample| self.resample(resample)).collect()
    }

    /// Set number `set` of prompts for `purpose`, `per_concept` of every concept, concept by concept.
    pub fn balanced(&self, purpose: Purpose, set: u64, per_concept: usize) -> Vec<Prompt> {
        Sampler::new(self.task.clone(), Stream::new(self.seed, purpose)).balanced(set, per_concept)
    }

    /// The labels of resample number `resample` as the control with permuted labels has them.
    pub fn shuffled(&self, labels: &[usize], resample: usize) -> Vec<usize> {
        let mut shuffled = labels.to_vec();
        shuffled.shuffle(&mut Stream::new(self.seed, Purpose::Shuffle).rng(resample as u64));
        shuffled
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
        subject.read(&self.resamples(), &wanted, &mut |Delivery { group, states, .. }| each(group, states))
    }
}
