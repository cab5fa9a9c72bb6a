//! Errors are mean squared errors divided by the mean of y², as in `metrics.csv`; intervals are at 95%, by bootstrap
//! over the held-out prompts.

use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// Error when one attention head is switched off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// The layer that the head's block writes, from 1.
    pub layer: Layer,
    /// The head, from 1.
    pub head: usize,
    /// Name of the concept.
    pub concept: Option<String>,
    /// Error without the head, over all positions.
    pub error: f64,
    /// `error` less the error of the whole model.
    pub change: f64,
    /// Lower end of the interval of `change`.
    pub lo: f64,
    /// Upper end of the interval of `change`.
    pub hi: f64,
    /// Held-out prompts of every concept.
    pub n: usize,
}

row!(AblationRow, "pruning.csv", |row| Some(row.step));
