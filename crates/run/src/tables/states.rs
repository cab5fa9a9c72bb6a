//! What the hidden states give away.

use serde::{Deserialize, Serialize};

use crate::tables::row;

/// How well a probe reads the concept from one layer at one token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecodabilityRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// 0 is the embedding, l the residual stream after block l.
    pub layer: usize,
    /// `x10` is the x token of pair 10, `y9` the y token of pair 9.
    pub token: String,
    /// Name of the probe, with `_shuffled` behind it for its control with permuted labels. CD is `knn`.
    pub probe: String,
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

/// Decodability at a probe's best layer, chosen fairly (`held_out`) and as the paper does (`optimistic`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestLayerRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::token`].
    pub token: String,
    /// Name of the probe; the best layer of a run is that of `knn`.
    pub probe: String,
    /// `held_out`: layer chosen on one half of the resamples, score on the other. `optimistic`: both on all.
    pub selection: String,
    /// The chosen layer.
    pub layer: usize,
    /// Mean accuracy, 0 to 1.
    pub score: f64,
    /// Lower end of the 95% interval over the resamples scored.
    pub lo: f64,
    /// Upper end of the 95% interval over the resamples scored.
    pub hi: f64,
}

/// One prompt's hidden state in a plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapRow {
    /// `pca`, `tsne` or `umap`.
    pub method: String,
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`].
    pub layer: usize,
    /// As in [`DecodabilityRow::token`].
    pub token: String,
    /// Name of the prompt's concept.
    pub concept: String,
    /// First coordinate.
    pub x: f64,
    /// Second coordinate.
    pub y: f64,
    /// Share of the variance along x, 0 to 1; empty where the method has none.
    pub explained_x: Option<f64>,
    /// Share of the variance along y, 0 to 1; empty where the method has none.
    pub explained_y: Option<f64>,
}

row!(DecodabilityRow, "cd.csv", |row| Some(row.step));
row!(BestLayerRow, "cd_best.csv", |row| Some(row.step));
row!(MapRow, "map.csv", |row| Some(row.step));
