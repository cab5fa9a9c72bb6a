//! Errors are mean squared errors divided by the mean of y², as in `metrics.csv`; intervals are at 95%, by bootstrap
//! over the held-out prompts.

use data::Token;
use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// What a state is changed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchKind {
    /// The mean of the target concept.
    Concept,
    /// The mean over concepts.
    Overall,
    /// A direction as long as what the mean of the prompt's own concept would have brought in.
    Random,
    /// The state as it is: the control that must change nothing.
    Itself,
}

/// Error of one prediction when the residual stream is changed at one layer and token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// 0 is the embedding, l the residual stream after block l.
    pub layer: Layer,
    /// The token whose state is changed.
    pub token: Token,
    /// 1-based pair whose y is predicted.
    pub position: usize,
    /// What the state is changed with.
    pub kind: PatchKind,
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

row!(PatchRow, "patching.csv", |row| Some(row.step));
