//! The rows of the tables: how far the concepts' states are apart.

use data::Token;
use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// A measure of separation, with the true labels or with permuted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// As [`Separation::between_within`](crate::Separation::between_within).
    BetweenWithin,
    /// The same with permuted labels.
    BetweenWithinShuffled,
    /// As [`Separation::silhouette`](crate::Separation::silhouette).
    Silhouette,
    /// The same with permuted labels.
    SilhouetteShuffled,
}

/// How far apart the concepts' states are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeparationRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer).
    pub layer: Layer,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: Token,
    /// What is measured.
    pub statistic: Statistic,
    /// Mean over the resamples; no unit.
    pub score: f64,
    /// Lower end of the 95% interval over resamples.
    pub lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub hi: f64,
    /// Resamples.
    pub n: usize,
}

/// How well kNN tells two concepts apart, given the states of these two alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer).
    pub layer: Layer,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: Token,
    /// The one that comes first in the task.
    pub concept: String,
    /// The other one.
    pub other: String,
    /// Mean accuracy over the resamples, 0 to 1; chance is ½.
    pub score: f64,
    /// Lower end of the 95% interval over resamples.
    pub lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub hi: f64,
    /// Resamples.
    pub n: usize,
}

row!(SeparationRow, "separation.csv", |row| Some(row.step));
row!(PairRow, "cd_pairs.csv", |row| Some(row.step));
