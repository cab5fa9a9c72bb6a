//! What a person at the terminal sees of training.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use run::{Experiment, RunError};

use crate::{StepObserver, TrainingRow};

/// Loss, what was measured at the newest checkpoint, and speed: beside a bar on a terminal, in plain lines elsewhere, on
/// standard error.
#[derive(Debug)]
pub struct Progress {
    shown: terminal::Progress,
    headline: Headline,
    batch_size: usize,
}

/// What was measured at the newest checkpoint, in words; training may go on while another thread measures.
#[derive(Clone, Debug, Default)]
pub struct Headline(Arc<Mutex<String>>);

impl Headline {
    /// Says something else from now on.
    pub fn set(&self, text: String) {
        *self.lock() = text;
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Of a run.
    pub fn new(experiment: &Experiment, headline: Headline) -> Self {
        let (steps, batch_size) = (experiment.config.train.steps, experiment.config.train.batch_size);
        Self { shown: terminal::Progress::new("step", steps), headline, batch_size }
    }

    fn message(&self, step: usize, loss: f64) -> String {
        let prompts = self.shown.rate(step) * self.batch_size as f64;
        let (headline, left) = (self.headline.lock(), self.shown.left(step));
        format!("loss {loss:.4}  {headline}  {prompts:.0} prompts/s  {left} left")
    }
}

impl StepObserver for Progress {
    fn on_start(&mut self, step: usize) {
        self.shown.go_on_at(step);
    }

    fn on_step(&mut self, step: usize, row: Option<&TrainingRow>) -> Result<(), RunError> {
        self.shown.reach(step);
        if let Some(row) = row {
            self.shown.tell(step, self.message(step, row.loss));
        }
        Ok(())
    }
}
