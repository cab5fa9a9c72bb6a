//! How well the model predicts, and how well anything could.

use serde::{Deserialize, Serialize};

use crate::tables::row;

/// Squared error of the model on the fixed held-out prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// Which prompts: `eval`.
    pub split: String,
    /// Name of the concept.
    pub concept: Option<String>,
    /// 1-based pair whose y is predicted, from the pairs before it.
    pub position: Option<usize>,
    /// Mean squared error, in units of y².
    pub mse: f64,
    /// `mse` divided by the mean of y² over all held-out prompts and positions, concepts weighed by their priors.
    pub relative_mse: f64,
}

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

/// Squared error of a closed-form predictor on the same held-out prompts as [`MetricRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineRow {
    /// `zero`, `ridge`, `bayes`, `oracle`, or a custom task's own.
    pub predictor: String,
    /// Name of the concept.
    pub concept: Option<String>,
    /// 1-based pair whose y is predicted.
    pub position: Option<usize>,
    /// Mean squared error, in units of y².
    pub mse: f64,
    /// `mse` divided by the mean of y².
    pub relative_mse: f64,
    /// Mean posterior probability of the true concept, for predictors that infer it.
    pub posterior: Option<f64>,
}

row!(MetricRow, "metrics.csv", |row| Some(row.step));
row!(TrainingRow, "training.csv", |row| Some(row.step));
row!(BaselineRow, "baselines.csv", |_row| None);
