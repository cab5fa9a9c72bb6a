//! What a person at the terminal sees of training.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{FusedBackend, Transformer};
use run::{BestLayerRow, Experiment, ProbeKind, RunDir, RunError, TrainingRow};

use crate::{CheckpointObserver, StepObserver};

/// Loss, Concept Decodability and speed beside a bar on a terminal, in plain lines elsewhere, on standard error.
#[derive(Debug)]
pub struct Progress {
    shown: terminal::Progress,
    decodability: Shown,
    batch_size: usize,
}

/// Concept Decodability as text; training may go on while another thread measures it.
type Shown = Arc<Mutex<String>>;

fn lock(shown: &Shown) -> MutexGuard<'_, String> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// Of a run that starts or goes on at `step`.
    pub fn new(experiment: &Experiment, step: usize) -> Self {
        let (steps, batch_size) = (experiment.config.train.steps, experiment.config.train.batch_size);
        Self { shown: terminal::Progress::new("step", steps, step), decodability: Shown::default(), batch_size }
    }

    /// What keeps the Concept Decodability that is shown up to date.
    pub fn decodability<'a>(&self, run: &'a RunDir) -> ShownDecodability<'a> {
        let shown = ShownDecodability { run, text: Arc::clone(&self.decodability) };
        shown.update();
        shown
    }

    fn message(&self, step: usize, loss: f64) -> String {
        let prompts = self.shown.rate(step) * self.batch_size as f64;
        let (cd, left) = (lock(&self.decodability), self.shown.left(step));
        format!("loss {loss:.4}  CD {cd}  {prompts:.0} prompts/s  {left} left")
    }
}

impl StepObserver for Progress {
    fn on_step(&mut self, step: usize, row: Option<&TrainingRow>) -> Result<(), RunError> {
        self.shown.reach(step);
        if let Some(row) = row {
            self.shown.tell(step, self.message(step, row.loss));
        }
        Ok(())
    }
}

/// Concept Decodability at the newest checkpoint, of the layer chosen on the other half of the resamples, as a
/// [`Progress`] shows it.
#[derive(Debug)]
pub struct ShownDecodability<'a> {
    run: &'a RunDir,
    text: Shown,
}

impl ShownDecodability<'_> {
    fn update(&self) {
        let rows = self.run.table::<BestLayerRow>().read().unwrap_or_default();
        let is_shown = |row: &&BestLayerRow| {
            row.selection == "held_out" && row.token.starts_with('x') && row.probe == ProbeKind::CD.name()
        };
        let newest = rows.iter().rfind(is_shown);
        *lock(&self.text) = newest.map_or("–".to_owned(), |row| format!("{:.2}", row.score));
    }
}

impl<B: FusedBackend> CheckpointObserver<B> for ShownDecodability<'_> {
    fn on_checkpoint(&mut self, _step: usize, _model: &Transformer<B>) -> Result<(), RunError> {
        self.update();
        Ok(())
    }
}
