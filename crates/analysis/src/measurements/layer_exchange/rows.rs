//! Errors are mean squared errors divided by the mean of y², as in `metrics.csv`; intervals are at 95%, by bootstrap
//! over the held-out prompts.

use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// Error of a model whose early layers are of one checkpoint and whose late layers are of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRow {
    /// Optimizer steps behind the early layers.
    pub early_step: usize,
    /// Optimizer steps behind the late layers.
    pub late_step: usize,
    /// The last early layer; 0 is the embedding.
    pub layer: Layer,
    /// Name of the concept.
    pub concept: Option<String>,
    /// Error over all positions.
    pub error: f64,
    /// Lower end of the interval of `error`.
    pub lo: f64,
    /// Upper end of the interval of `error`.
    pub hi: f64,
    /// Held-out prompts of every concept.
    pub n: usize,
}

row!(ExchangeRow, "transplant.csv", |row| Some(row.early_step.max(row.late_step)));
