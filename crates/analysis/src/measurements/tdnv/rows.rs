//! The rows of the table: spread within concepts over the distance between them.

use data::Token;
use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// Task distance normalised variance of the states at one layer and token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TdnvRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer).
    pub layer: Layer,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: Token,
    /// Mean over the resamples; no unit, and the lower, the further the concepts are apart.
    pub score: f64,
    /// Lower end of the 95% interval over resamples.
    pub lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub hi: f64,
    /// Resamples.
    pub n: usize,
}

row!(TdnvRow, "tdnv.csv", |row| Some(row.step));
