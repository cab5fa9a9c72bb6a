//! The prompts of every step.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver};
use std::thread::{Builder, Scope};

use data::{Prompt, Purpose, Sampler, Stream, TaskError};
use run::Experiment;

/// Batches drawn ahead of their use.
const AHEAD: usize = 2;

/// Draws the batch of any step, whichever were drawn before.
#[derive(Debug)]
pub(crate) struct Batches {
    sampler: Sampler,
    batch_size: u64,
}

impl Batches {
    pub(crate) fn new(experiment: &Experiment) -> Self {
        let stream = Stream::new(experiment.config.seed, Purpose::Train);
        let batch_size = experiment.config.train.batch_size as u64;
        Self { sampler: Sampler::new(experiment.study.task.pairs().clone(), stream), batch_size }
    }

    /// On this thread alone: the others are at work on the batch before.
    ///
    /// # Errors
    /// When the task cannot make them.
    pub(crate) fn draw(&self, step: usize) -> Result<Vec<Prompt>, TaskError> {
        let first = step as u64 * self.batch_size;
        self.sampler.in_turn(first..first + self.batch_size)
    }

    /// Draws the batches of `steps` on a thread of its own, in order, a few ahead; an error is the last.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn ahead<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        steps: Range<usize>,
    ) -> io::Result<Receiver<Result<Vec<Prompt>, TaskError>>> {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        let draw = move || {
            for step in steps {
                let batch = self.draw(step);
                let is_last = batch.is_err();
                if sender.send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        Builder::new().spawn_scoped(scope, draw)?;
        Ok(receiver)
    }
}
