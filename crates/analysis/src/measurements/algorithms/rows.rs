//! The rows of the table: how far the model's answers are from those of closed-form predictors.

use serde::{Deserialize, Serialize};

use crate::row::row;

/// How far the model's predictions are from those of a closed-form predictor, on the held-out prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlgorithmRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// Name of the predictor.
    pub predictor: String,
    /// Name of the concept.
    pub concept: Option<String>,
    /// 1-based pair whose y is predicted.
    pub position: Option<usize>,
    /// Mean squared difference of the two predictions, divided by the mean of y².
    pub distance: f64,
    /// The predictor's own mean squared error divided by the mean of y²; the same at every step.
    pub relative_mse: f64,
}

row!(AlgorithmRow, "algorithms.csv", |row| Some(row.step));
