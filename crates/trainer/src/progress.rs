//! What a person at the terminal sees.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{Kernels, Transformer};
use run::{BestLayerRow, Experiment, ProbeKind, RunDir, RunError, TrainingRow};

use crate::{CheckpointObserver, StepObserver};

/// Least time between two lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, plain lines elsewhere, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    batch_size: usize,
    steps: usize,
    started: Instant,
    first_step: usize,
    last_line: Option<Instant>,
}

impl Progress {
    /// Of a run that starts or goes on at `step`.
    pub fn new(experiment: &Experiment, step: usize) -> Self {
        let (steps, batch_size) = (experiment.config.train.steps, experiment.config.train.batch_size);
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}").expect("the template is well-formed");
        bar.set_style(style);
        bar.set_position(step as u64);
        Self { bar, batch_size, steps, started: Instant::now(), first_step: step, last_line: None }
    }

    /// What keeps the Concept Decodability that is shown up to date.
    pub fn decodability<'a>(&self, run: &'a RunDir) -> ShownDecodability<'a> {
        let shown = ShownDecodability { run, bar: self.bar.clone() };
        shown.update();
        shown
    }

    fn message(&self, step: usize, loss: f64) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (step - self.first_step) as f64 / seconds.max(1e-9);
        let prompts = rate * self.batch_size as f64;
        let left = (self.steps - step) as f64 / rate.max(1e-9);
        let (minutes, seconds) = (left as u64 / 60, left as u64 % 60);
        let cd = self.bar.prefix();
        format!("loss {loss:.4}  CD {cd}  {prompts:.0} prompts/s  {minutes}:{seconds:02} left")
    }
}

impl StepObserver for Progress {
    fn on_step(&mut self, step: usize, row: Option<&TrainingRow>) -> Result<(), RunError> {
        self.bar.set_position(step as u64);
        let Some(row) = row else { return Ok(()) };
        let message = self.message(step, row.loss);
        if self.bar.is_hidden() && self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            analysis::note(&format!("step {step}/{}  {message}", self.steps));
        }
        self.bar.set_message(message);
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Concept Decodability at the newest checkpoint, of the layer chosen on the other half of the resamples, as the prefix
/// of a bar.
#[derive(Debug)]
pub struct ShownDecodability<'a> {
    run: &'a RunDir,
    bar: ProgressBar,
}

impl ShownDecodability<'_> {
    fn update(&self) {
        let rows = self.run.table::<BestLayerRow>().read().unwrap_or_default();
        let is_shown = |row: &&BestLayerRow| {
            row.selection == "held_out" && row.token.starts_with('x') && row.probe == ProbeKind::CD.name()
        };
        let newest = rows.iter().rfind(is_shown);
        self.bar.set_prefix(newest.map_or("–".to_owned(), |row| format!("{:.2}", row.score)));
    }
}

impl<B: Kernels> CheckpointObserver<B> for ShownDecodability<'_> {
    fn on_checkpoint(&mut self, _step: usize, _model: &Transformer<B>) -> Result<(), RunError> {
        self.update();
        Ok(())
    }
}
