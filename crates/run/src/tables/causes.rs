//! What happens when something inside the model is changed.
//!
//! Errors are mean squared errors divided by the mean of y², as in `metrics.csv`; intervals are at 95%, by bootstrap
//! over the held-out prompts.

use serde::{Deserialize, Serialize};

use crate::tables::row;

/// Error of one prediction when the residual stream is changed at one layer and token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// 0 is the embedding, l the residual stream after block l.
    pub layer: usize,
    /// The token whose state is changed.
    pub token: String,
    /// 1-based pair whose y is predicted.
    pub position: usize,
    /// What the state is changed with: `concept` the mean of the target concept, `overall` the mean over concepts,
    /// `random` a direction as long as what the mean of the prompt's own concept would have brought in, `itself` the
    /// state as it is.
    pub kind: String,
    /// Concept of the prompts.
    pub source: String,
    /// Concept whose mean takes part.
    pub target: Option<String>,
    /// Without it the state is replaced. With it the state stays, and this times what it is changed with, less the mean
    /// over concepts, is added: steering.
    pub strength: Option<f64>,
    /// Error with the change.
    pub error: f64,
    /// `error` less the error of the same prompts without the change.
    pub change: f64,
    /// Lower end of the interval of `change`.
    pub lo: f64,
    /// Upper end of the interval of `change`.
    pub hi: f64,
    /// Held-out prompts of the source concept.
    pub n: usize,
    /// Prompts of every concept behind its mean.
    pub mean_n: usize,
}

/// Error when one attention head is switched off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruningRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// The layer that the head's block writes, from 1.
    pub layer: usize,
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

/// Error of a model whose early layers are of one checkpoint and whose late layers are of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransplantRow {
    /// Optimizer steps behind the early layers.
    pub early_step: usize,
    /// Optimizer steps behind the late layers.
    pub late_step: usize,
    /// The last early layer; 0 is the embedding.
    pub layer: usize,
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

row!(PatchRow, "patching.csv", |row| Some(row.step));
row!(PruningRow, "pruning.csv", |row| Some(row.step));
row!(TransplantRow, "transplant.csv", |row| Some(row.early_step.max(row.late_step)));
