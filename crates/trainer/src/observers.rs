//! What is watched and measured during training. All that the loop knows of it is the list of tables that an observer adds
//! rows to.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use analysis::{LIVE, Latest, MeasureError, Shown, note_trained};
use model::Device;
use probe::{Study, Subject};
use record::AnyTable;
use run::{Environment, Experiment, RunDir, RunError, Until};

use crate::progress::Headline;
use crate::{TrainError, TrainingRow};

/// Watches every step of a training run.
pub trait StepObserver: Debug {
    /// Before the first step, which is taken from the model as it was after `step`.
    fn on_start(&mut self, _step: usize) {}

    /// After every step; `row` is there when the loss has been read from the device.
    fn on_step(&mut self, step: usize, row: Option<&TrainingRow>) -> Result<(), RunError>;

    /// The tables that it adds rows to: what was measured behind the checkpoint that training goes on from is dropped,
    /// and what was measured before a checkpoint is on the disk before that counts.
    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        Vec::new()
    }
}

/// Measures the model at checkpoints: while the training waits, or on a thread beside it.
pub trait CheckpointObserver: Send {
    /// At every scheduled checkpoint, before it counts: a checkpoint that does has all its rows.
    fn on_checkpoint(&mut self, step: usize, subject: &dyn Subject) -> Result<(), TrainError>;

    /// As [`StepObserver::tables`].
    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        Vec::new()
    }
}

/// Who watches a training run.
#[derive(Default)]
pub struct Observers<'a> {
    /// Of its steps, asked in turn.
    pub steps: Vec<Box<dyn StepObserver + 'a>>,
    /// Of its checkpoints, asked in turn.
    pub checkpoints: Vec<Box<dyn CheckpointObserver + 'a>>,
}

impl Observers<'_> {
    /// The tables of all of them.
    pub fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        let of_steps = self.steps.iter().flat_map(|observer| observer.tables());
        of_steps.chain(self.checkpoints.iter().flat_map(|observer| observer.tables())).collect()
    }
}

/// Appends to the training table.
#[derive(Debug)]
pub struct TrainingTable<'a> {
    /// Whose table.
    pub run: &'a RunDir,
}

impl StepObserver for TrainingTable<'_> {
    fn on_step(&mut self, _step: usize, row: Option<&TrainingRow>) -> Result<(), RunError> {
        row.map_or(Ok(()), |row| Ok(self.run.table().append(std::slice::from_ref(row))?))
    }

    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        vec![Box::new(self.run.table::<TrainingRow>())]
    }
}

/// Notes where a run is made, if a step is made there.
#[derive(Debug)]
pub struct Origin<'a> {
    run: &'a RunDir,
    unwritten: Option<Environment>,
}

impl<'a> Origin<'a> {
    /// In the folder of `run`, with the first step to come.
    pub fn new(run: &'a RunDir, here: Environment) -> Self {
        Self { run, unwritten: Some(here) }
    }
}

impl StepObserver for Origin<'_> {
    fn on_step(&mut self, _step: usize, _row: Option<&TrainingRow>) -> Result<(), RunError> {
        self.unwritten.take().map_or(Ok(()), |here| self.run.write_environment(&here))
    }
}

/// Takes the measurements of [`LIVE`], into the run's tables.
pub struct LiveMeasurements<'a> {
    /// What is asked.
    pub study: &'a Study,
    /// The run's tables, and what they name.
    pub shown: Shown<'a>,
    /// Where a person sees what was found.
    pub headline: Headline,
}

impl CheckpointObserver for LiveMeasurements<'_> {
    fn on_checkpoint(&mut self, step: usize, subject: &dyn Subject) -> Result<(), TrainError> {
        let append = |live: &analysis::LiveEntry| (live.append)(self.study, subject, step, &self.shown);
        let found = LIVE.iter().map(append).collect::<Result<Vec<_>, MeasureError>>()?;
        self.headline.set(found.into_iter().flatten().collect::<Vec<_>>().join("  "));
        Ok(())
    }

    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        LIVE.iter().flat_map(|live| (live.entry.tables)(self.shown.folder)).collect()
    }
}

/// Notes that training ends, as soon as a checkpoint that was measured says so.
pub struct EarlyEnd<'a> {
    /// Whose training.
    pub run: &'a RunDir,
    /// When it ends.
    pub until: Until,
    /// The run's tables, with what was measured at the checkpoint.
    pub shown: Shown<'a>,
}

impl CheckpointObserver for EarlyEnd<'_> {
    fn on_checkpoint(&mut self, step: usize, _subject: &dyn Subject) -> Result<(), TrainError> {
        let error = Latest::read(&self.shown).map_err(RunError::from)?.over_optimal;
        let end = error.and_then(|error| self.until.end(step, error));
        Ok(end.map_or(Ok(()), |end| self.run.note_end(&end))?)
    }
}

/// Notes what makes the tables of training, before a checkpoint is saved: a run that ends with the last one has nothing
/// left to note.
pub struct Provenance<'a> {
    /// Whose tables.
    pub run: &'a RunDir,
    /// Its settings.
    pub experiment: &'a Experiment,
    /// Where it is trained.
    pub device: Device,
}

impl CheckpointObserver for Provenance<'_> {
    fn on_checkpoint(&mut self, _step: usize, _subject: &dyn Subject) -> Result<(), TrainError> {
        let noted = note_trained(self.run, self.experiment, self.device, Box::new(self.run.table::<TrainingRow>()));
        Ok(noted.map_err(RunError::from)?)
    }
}

/// Keeps the report up to date: at checkpoints, at most once a minute and for at most a fiftieth of the time. Training does
/// not depend on it: whoever writes it also says why it could not be written.
pub struct LiveReport<F> {
    write: F,
    last: Instant,
    took: Duration,
}

impl<F: FnMut() + Send> LiveReport<F> {
    /// The first one, by `write`, a minute from now.
    pub fn new(write: F) -> Self {
        Self { write, last: Instant::now(), took: Duration::ZERO }
    }
}

impl<F: FnMut() + Send> CheckpointObserver for LiveReport<F> {
    fn on_checkpoint(&mut self, _step: usize, _subject: &dyn Subject) -> Result<(), TrainError> {
        if self.last.elapsed() < Duration::from_secs(60).max(50 * self.took) {
            return Ok(());
        }
        let started = Instant::now();
        (self.write)();
        (self.last, self.took) = (Instant::now(), started.elapsed());
        Ok(())
    }
}
