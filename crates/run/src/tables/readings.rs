//! What the hidden states give away under other questions: along the prompt, between two concepts, with other settings
//! of the probe, and in what blocks write.

use serde::{Deserialize, Serialize};

use crate::tables::row;

/// How well the concept is read at the x token of one pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositionRow {
    /// Optimizer steps taken; empty for a predictor.
    pub step: Option<usize>,
    /// 1-based pair whose x token is read; it comes after `position - 1` whole pairs.
    pub position: usize,
    /// A probe or its control, as in [`DecodabilityRow::probe`](crate::DecodabilityRow::probe); a predictor that infers
    /// the concept; or the predictor with `_posterior` behind it.
    pub reader: String,
    /// The layer read, chosen for this pair on the other half of the resamples; empty for a predictor.
    pub layer: Option<usize>,
    /// Mean accuracy, 0 to 1: for a predictor that of its likeliest concept, or its mean posterior on the true one.
    pub score: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Lower end of the 95% interval over resamples.
    pub lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub hi: f64,
}

/// How far apart the concepts' states are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeparationRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer).
    pub layer: usize,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: String,
    /// `between_within`, `silhouette`, or one of them with `_shuffled` behind it for permuted labels.
    pub statistic: String,
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
    pub layer: usize,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: String,
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

/// CD with another k and N.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer).
    pub layer: usize,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: String,
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

/// Where in a block states are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// The residual stream behind the block, as in `cd.csv`.
    Residual,
    /// What the block's attention adds to it.
    Attention,
    /// What the block's feed-forward part adds to it.
    FeedForward,
    /// What the whole block adds to it, the sum of both.
    Block,
}

impl Site {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Residual, Self::Attention, Self::FeedForward, Self::Block];

    /// The first layer that has it: only the stream is there before the first block.
    pub fn first_layer(self) -> usize {
        usize::from(self != Self::Residual)
    }
}

/// How well the concept is read from what blocks write, beside the stream that they write to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer); at layer l block l has written.
    pub layer: usize,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: String,
    /// What is read.
    pub site: Site,
    /// As in [`DecodabilityRow::probe`](crate::DecodabilityRow::probe), controls included.
    pub probe: String,
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

row!(PositionRow, "cd_positions.csv", |row| row.step);
row!(SeparationRow, "separation.csv", |row| Some(row.step));
row!(PairRow, "cd_pairs.csv", |row| Some(row.step));
row!(SensitivityRow, "sensitivity.csv", |row| Some(row.step));
row!(SiteRow, "cd_sites.csv", |row| Some(row.step));
