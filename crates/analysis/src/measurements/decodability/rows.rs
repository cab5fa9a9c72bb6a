//! The rows of the tables: decodability at every layer, and at the best one.

use data::Token;
use probe::{Layer, ProbeKind, ProbeReading};
use serde::{Deserialize, Serialize};

use crate::row::{check_shares, row};

/// How well a probe reads the concept from one layer at one token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecodabilityRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// 0 is the embedding, l the residual stream after block l.
    pub layer: Layer,
    /// `x10` is the x token of pair 10, `y9` the y token of pair 9.
    pub token: Token,
    /// The probe, or a control of it. CD is `knn`.
    pub probe: ProbeReading,
    /// Name of the concept.
    pub concept: Option<String>,
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

/// How the best layer is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// On one half of the resamples, and scored on the other.
    HeldOut,
    /// On all resamples, and scored on the same, as in the paper.
    Optimistic,
}

/// Decodability at a probe's best layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestLayerRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::token`].
    pub token: Token,
    /// The probe; the best layer of a run is that of `knn`.
    pub probe: ProbeKind,
    /// How the layer was chosen.
    pub selection: Selection,
    /// The chosen layer.
    pub layer: Layer,
    /// Mean accuracy, 0 to 1.
    pub score: f64,
    /// Lower end of the 95% interval over the resamples scored.
    pub lo: f64,
    /// Upper end of the 95% interval over the resamples scored.
    pub hi: f64,
}

row!(DecodabilityRow, "cd.csv", |row| Some(row.step), |row: &Self| {
    check_shares(&[("score", row.score), ("chance", row.chance), ("lo", row.lo), ("hi", row.hi)])
});
row!(BestLayerRow, "cd_best.csv", |row| Some(row.step), |row: &Self| {
    check_shares(&[("score", row.score), ("lo", row.lo), ("hi", row.hi)])
});

impl DecodabilityRow {
    /// Whether the score is Concept Decodability.
    pub(crate) fn is_cd(&self) -> bool {
        self.probe == ProbeReading::CD
    }
}
