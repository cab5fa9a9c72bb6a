//! What is measured during training. All that the loop knows of it is the list of tables that an observer adds rows to.

use std::fmt::Debug;

use model::{FusedBackend, Transformer};
use record::AnyTable;
use run::{BestLayerRow, DecodabilityRow, Environment, Experiment, MetricRow, RunDir, RunError, TrainingRow};

/// Watches every step of a training run.
pub trait StepObserver: Debug {
    /// After every step; `row` is there when the loss has been read from the device.
    fn on_step(&mut self, step: usize, row: Option<&TrainingRow>) -> Result<(), RunError>;

    /// The tables that it adds rows to: what was measured behind the checkpoint that training goes on from is dropped,
    /// and what was measured before a checkpoint is on the disk before that is saved.
    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        Vec::new()
    }
}

/// Measures the model at checkpoints: while the training waits, or on a thread beside it.
pub trait CheckpointObserver<B: FusedBackend>: Debug + Send {
    /// At every scheduled checkpoint, before it is saved: a checkpoint that is there has all its rows.
    fn on_checkpoint(&mut self, step: usize, model: &Transformer<B>) -> Result<(), RunError>;

    /// As [`StepObserver::tables`].
    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        Vec::new()
    }
}

/// Who watches a training run.
#[derive(Debug)]
pub struct Observers<'a, B: FusedBackend> {
    /// Of its steps, asked in turn.
    pub steps: Vec<Box<dyn StepObserver + 'a>>,
    /// Of its checkpoints, asked in turn.
    pub checkpoints: Vec<Box<dyn CheckpointObserver<B> + 'a>>,
}

impl<B: FusedBackend> Observers<'_, B> {
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

/// Measures the error on the held-out prompts.
#[derive(Debug)]
pub struct Errors<'a, B: FusedBackend> {
    run: &'a RunDir,
    held_out: analysis::HeldOut<'a>,
    device: B::Device,
}

impl<'a, B: FusedBackend> Errors<'a, B> {
    /// Into the tables of `run`, on `device`.
    pub fn new(run: &'a RunDir, experiment: &'a Experiment, device: B::Device) -> Self {
        Self { run, held_out: analysis::HeldOut::new(experiment), device }
    }
}

impl<B: FusedBackend> CheckpointObserver<B> for Errors<'_, B> {
    fn on_checkpoint(&mut self, step: usize, model: &Transformer<B>) -> Result<(), RunError> {
        Ok(self.run.table().append(&self.held_out.model_errors(model, step, &self.device))?)
    }

    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        vec![Box::new(self.run.table::<MetricRow>())]
    }
}

/// Measures Concept Decodability.
#[derive(Debug)]
pub struct Decodabilities<'a, B: FusedBackend> {
    /// Whose tables.
    pub run: &'a RunDir,
    /// Whose prompts.
    pub experiment: &'a Experiment,
    /// Where the model runs.
    pub device: B::Device,
}

impl<B: FusedBackend> CheckpointObserver<B> for Decodabilities<'_, B> {
    fn on_checkpoint(&mut self, step: usize, model: &Transformer<B>) -> Result<(), RunError> {
        let tables = analysis::decodability(model, self.experiment, step, &self.device);
        self.run.table().append(&tables.cd)?;
        Ok(self.run.table().append(&tables.best)?)
    }

    fn tables(&self) -> Vec<Box<dyn AnyTable>> {
        vec![Box::new(self.run.table::<DecodabilityRow>()), Box::new(self.run.table::<BestLayerRow>())]
    }
}
