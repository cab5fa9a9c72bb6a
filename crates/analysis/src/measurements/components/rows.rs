//! The rows of the table: decodability of what blocks write.

use data::Token;
use probe::{Component, Layer, ProbeReading};
use serde::{Deserialize, Serialize};

use crate::row::row;

/// How well the concept is read from what blocks write, beside the stream that they write to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer); at layer l block l has written.
    pub layer: Layer,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: Token,
    /// What is read.
    #[serde(rename = "site")]
    pub component: Component,
    /// As in [`DecodabilityRow::probe`](crate::DecodabilityRow::probe), controls included.
    pub probe: ProbeReading,
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

row!(ComponentRow, "cd_sites.csv", |row| Some(row.step));
