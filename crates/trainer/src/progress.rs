//! What a person at the terminal sees.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{FusedBackend, Transformer};
use run::{BestLayerRow, Experiment, RunDir, RunError, TrainingRow};

use crate::Observer;

/// Least time between two lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, plain lines elsewhere, on standard error.
#[derive(Debug)]
pub struct Progress<'a> {
    run: &'a RunDir,
    bar: ProgressBar,
    batch_size: usize,
    steps: usize,
    started: Instant,
    first_step: usize,
    last_line: Option<Instant>,
    loss: f64,
    decodability: Option<f64>,
}

impl<'a> Progress<'a> {
    /// Of a run that starts or goes on at `step`.
    pub fn new(run: &'a RunDir, experiment: &Experiment, step: usize) -> Self {
        let (steps, batch_size) = (experiment.config.train.steps, experiment.config.train.batch_size);
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}").expect("the template is well-formed");
        bar.set_style(style);
        bar.set_position(step as u64);
        let decodability = last_decodability(run);
        let started = Instant::now();
        let (last_line, loss) = (None, f64::NAN);
        Self { run, bar, batch_size, steps, started, first_step: step, last_line, loss, decodability }
    }

    fn message(&self, step: usize) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (step - self.first_step) as f64 / seconds.max(1e-9);
        let prompts = rate * self.batch_size as f64;
        let left = (self.steps - step) as f64 / rate.max(1e-9);
        let cd = self.decodability.map_or("–".to_owned(), |cd| format!("{cd:.2}"));
        let (minutes, seconds) = (left as u64 / 60, left as u64 % 60);
        format!("loss {:.4}  CD {cd}  {prompts:.0} prompts/s  {minutes}:{seconds:02} left", self.loss)
    }
}

impl<B: FusedBackend> Observer<B> for Progress<'_> {
    fn on_step(&mut self, step: usize, row: Option<&TrainingRow>) -> Result<(), RunError> {
        self.bar.set_position(step as u64);
        let Some(row) = row else { return Ok(()) };
        self.loss = row.loss;
        let message = self.message(step);
        if self.bar.is_hidden() && self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            analysis::note(&format!("step {step}/{}  {message}", self.steps));
        }
        self.bar.set_message(message);
        Ok(())
    }

    fn on_checkpoint(&mut self, _step: usize, _model: &Transformer<B>) -> Result<(), RunError> {
        self.decodability = last_decodability(self.run);
        Ok(())
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The fairly chosen best layer's score in the newest rows.
fn last_decodability(run: &RunDir) -> Option<f64> {
    let rows = run.table::<BestLayerRow>().read().ok()?;
    rows.iter().rfind(|row| row.selection == "held_out" && row.token.starts_with('x')).map(|row| row.score)
}
