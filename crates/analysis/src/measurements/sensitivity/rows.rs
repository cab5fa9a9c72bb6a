//! The rows of the table: CD with other settings.

use data::Token;
use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// CD with another k and N.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer).
    pub layer: Layer,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: Token,
    /// Prompts of every concept, N.
    pub prompts_per_concept: usize,
    /// Neighbours that vote, k.
    pub neighbours: usize,
    /// Mean accuracy over the resamples, 0 to 1.
    pub score: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Lower end of the 95% interval over resamples.
    pub lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub hi: f64,
    /// Resamples.
    pub n: usize,
}

row!(SensitivityRow, "sensitivity.csv", |row| Some(row.step));
