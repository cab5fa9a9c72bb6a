//! What the loop writes down of its steps.

use record::Row;
use serde::{Deserialize, Serialize};

/// One training step. It depends on that step alone, so that a run which was stopped and went on has the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// Mean squared error on the batch of this step, in units of y².
    pub loss: f64,
    /// Global gradient norm at this step, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
}

impl Row for TrainingRow {
    const FILE: &'static str = "training.csv";

    fn step(&self) -> Option<usize> {
        Some(self.step)
    }
}
