//! How far answers go from a prompt's own to those of its twin when one head adds what it adds in the twin; intervals are at
//! 95%, by bootstrap over prompts.

use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::measurements::{Donor, Places, Target};
use crate::row::row;

/// How far the answers to the query go when the output of attention heads is interchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadInterchangeRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// The layer that the head's block writes, from 1.
    pub layer: Layer,
    /// The head, from 1; none for all heads of the block together.
    pub head: Option<usize>,
    /// The tokens at which its output is changed.
    pub places: Places,
    /// What takes its place.
    pub donor: Donor,
    /// Where the answers would go.
    pub target: Target,
    /// As in [`InterchangeRow::slope`](crate::InterchangeRow::slope).
    pub slope: f64,
    /// Lower end of the interval of `slope`.
    pub slope_lo: f64,
    /// Upper end of the interval of `slope`.
    pub slope_hi: f64,
    /// Weight of the prompt's own optimal answer in the answers, beside that of the target.
    pub own_weight: f64,
    /// Weight of the target in the answers.
    pub target_weight: f64,
    /// Lower end of the interval of `target_weight`.
    pub weight_lo: f64,
    /// Upper end of the interval of `target_weight`.
    pub weight_hi: f64,
    /// Prompts.
    pub n: usize,
}

row!(HeadInterchangeRow, "interchange_heads.csv", |row| Some(row.step));
