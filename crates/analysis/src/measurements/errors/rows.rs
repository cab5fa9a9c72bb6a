//! The rows of the table: errors on the held-out prompts.

use serde::{Deserialize, Serialize};

use crate::row::row;

/// Prompts that errors are measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The held-out ones.
    Eval,
}

/// Squared error on the held-out prompts; an empty `concept` or `position` means over all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// Which prompts.
    pub split: Split,
    /// Name of the concept.
    pub concept: Option<String>,
    /// 1-based pair whose y is predicted from the pairs before it.
    pub position: Option<usize>,
    /// Mean squared error, in units of y².
    pub mse: f64,
    /// `mse` divided by the mean of y² over all held-out prompts and positions, concepts weighed by their priors.
    pub relative_mse: f64,
}

row!(MetricRow, "metrics.csv", |row| Some(row.step), |row: &Self| {
    match [("mse", row.mse), ("relative_mse", row.relative_mse)].into_iter().find(|(_, value)| *value < 0.0) {
        Some((column, value)) => Err(format!("{column} must be at least 0, but is {value}")),
        None => Ok(()),
    }
});
