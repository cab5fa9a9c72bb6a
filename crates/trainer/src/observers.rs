//! What is measured during training. All that the loop knows of it is which tables going on shortens.

use std::fmt::Debug;

use model::{Kernels, Transformer};
use run::{Environment, Experiment, RunDir, RunError, TrainingRow};

/// Watches every step of a training run.
pub trait StepObserver: Debug {
    /// After every step; `row` is there when the loss has been read from the device.
    fn on_step(&mut self, step: usize, row: Option<&TrainingRow>) -> Result<(), RunError>;
}

/// Measures the model at checkpoints: while the training waits, or on a thread beside it.
pub trait CheckpointObserver<B: Kernels>: Debug + Send {
    /// At every scheduled checkpoint, before it is saved: a checkpoint that is there has all its rows.
    fn on_checkpoint(&mut self, step: usize, model: &Transformer<B>) -> Result<(), RunError>;
}

/// Who watches a training run.
#[derive(Debug)]
pub struct Observers<'a, B: Kernels> {
    /// Of its steps, asked in turn.
    pub steps: Vec<Box<dyn StepObserver + 'a>>,
    /// Of its checkpoints, asked in turn.
    pub checkpoints: Vec<Box<dyn CheckpointObserver<B> + 'a>>,
}

/// Appends to the training table.
#[derive(Debug)]
pub struct TrainingTable<'a> {
    /// Whose table.
    pub run: &'a RunDir,
}

impl StepObserver for TrainingTable<'_> {
    fn on_step(&mut self, _step: usize, row: Option<&TrainingRow>) -> Result<(), RunError> {
        row.map_or(Ok(()), |row| self.run.table().append(std::slice::from_ref(row)))
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
pub struct Errors<'a, B: Kernels> {
    run: &'a RunDir,
    held_out: analysis::HeldOut<'a>,
    device: B::Device,
}

impl<'a, B: Kernels> Errors<'a, B> {
    /// Into the tables of `run`, on `device`.
    pub fn new(run: &'a RunDir, experiment: &'a Experiment, device: B::Device) -> Self {
        Self { run, held_out: analysis::HeldOut::new(experiment), device }
    }
}

impl<B: Kernels> CheckpointObserver<B> for Errors<'_, B> {
    fn on_checkpoint(&mut self, step: usize, model: &Transformer<B>) -> Result<(), RunError> {
        self.run.table().append(&self.held_out.model_errors(model, step, &self.device))
    }
}

/// Measures Concept Decodability.
#[derive(Debug)]
pub struct Decodabilities<'a, B: Kernels> {
    /// Whose tables.
    pub run: &'a RunDir,
    /// Whose prompts.
    pub experiment: &'a Experiment,
    /// Where the model runs.
    pub device: B::Device,
}

impl<B: Kernels> CheckpointObserver<B> for Decodabilities<'_, B> {
    fn on_checkpoint(&mut self, step: usize, model: &Transformer<B>) -> Result<(), RunError> {
        let tables = analysis::decodability(model, self.experiment, step, &self.device);
        self.run.table().append(&tables.cd)?;
        self.run.table().append(&tables.best)
    }
}
