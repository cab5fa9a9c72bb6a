//! The rows of the table: errors of the closed-form predictors.

use serde::{Deserialize, Serialize};

use crate::row::row;

/// Squared error of a closed-form predictor on the same held-out prompts as [`MetricRow`](crate::MetricRow).
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

row!(BaselineRow, "baselines.csv", |_row| None);
