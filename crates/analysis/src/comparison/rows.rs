//! Runs side by side. A group is the runs that differ only in their seeds; an empty cell in `run` or `group` means
//! over all of them.

use data::Token;
use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// The end of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// Name of the run, as its folder had it when it was made.
    pub run: String,
    /// What tells its group from the others: the fields that differ with their values, or a name.
    pub group: String,
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer steps taken.
    pub step: usize,
    /// Name of the concept.
    pub concept: Option<String>,
    /// The model's squared error divided by the mean of y².
    pub error: f64,
    /// The model's error over that of the optimal predictor, the Bayes mixture of most tasks, where there is one.
    pub over_bayes: Option<f64>,
    /// The layer that is best at the end, chosen on one half of the resamples.
    pub layer: Layer,
    /// Decodability at that layer and the first probed token; over all concepts scored on the other half.
    pub cd: f64,
    /// Lower end of the 95% interval over resamples.
    pub cd_lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub cd_hi: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// First checkpoint at which the interval of CD lies above that of the untrained model.
    pub cd_onset: Option<usize>,
    /// Step at which CD has gone half of its way, as in [`LagRow::cd_step`].
    pub cd_half: Option<f64>,
    /// Step at which the error has gone half of its way from the level of ridge regression, as in [`LagRow::error_step`].
    pub error_half: Option<f64>,
}

/// Error and decodability of one run at one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// As in [`SweepRow::run`].
    pub run: String,
    /// As in [`SweepRow::group`].
    pub group: String,
    /// Seed of the run.
    pub seed: u64,
    /// Name of the concept.
    pub concept: Option<String>,
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`SweepRow::error`].
    pub error: f64,
    /// As in [`SweepRow::over_bayes`].
    pub over_bayes: Option<f64>,
    /// Score at the layer that is best at the end, the same at all checkpoints.
    pub cd: f64,
    /// Accuracy of guessing.
    pub chance: f64,
}

/// A group's mean at one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurveRow {
    /// As in [`SweepRow::group`].
    pub group: String,
    /// Name of the concept.
    pub concept: Option<String>,
    /// Optimizer steps taken.
    pub step: usize,
    /// What is averaged.
    pub measure: Measure,
    /// Mean over the runs.
    pub mean: f64,
    /// The lowest run.
    pub lo: f64,
    /// The highest run.
    pub hi: f64,
    /// Runs that have this checkpoint.
    pub n: usize,
}

/// How many steps after the fall of the error decodability rises; negative where it comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagRow {
    /// As in [`SweepRow::group`].
    pub group: String,
    /// As in [`SweepRow::run`]; empty for the mean over the runs.
    pub run: Option<String>,
    /// Name of the concept; empty for the mean over a run's concepts.
    pub concept: Option<String>,
    /// Where the fall of the error begins.
    pub from: FallFrom,
    /// The part of the way to the final level at which both are compared, 0 to 1.
    pub share: f64,
    /// Step at which the error has gone that part of its way; of a switch, midway between the last checkpoint before it
    /// and the first one behind it.
    pub error_step: f64,
    /// Step at which decodability has gone that part of its way, from the untrained model's.
    pub cd_step: f64,
    /// `cd_step` − `error_step`.
    pub lag: f64,
    /// Lower end of the 95% interval over runs (Student's t); from two runs on.
    pub lo: Option<f64>,
    /// Upper end of that interval.
    pub hi: Option<f64>,
    /// Runs.
    pub n: usize,
    /// Steps between the checkpoints around the events, the larger of the two: no lag is known more precisely.
    pub resolution: f64,
}

/// How decodability and error go together over concepts and checkpoints; the error as it is over the optimal predictor's,
/// where the task has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrelationRow {
    /// As in [`SweepRow::group`].
    pub group: Option<String>,
    /// Which points are correlated.
    pub scope: Scope,
    /// Which coefficient.
    pub method: CorrelationMethod,
    /// The coefficient, −1 to 1.
    pub r: f64,
    /// Lower end of the 95% interval, in which a run counts as one observation.
    pub lo: Option<f64>,
    /// Upper end of that interval.
    pub hi: Option<f64>,
    /// Runs; within runs, those whose correlation is not exactly ±1.
    pub runs: usize,
    /// Points.
    pub points: usize,
}

/// What replacing a state by an activation does to the error, over the runs of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplacementRow {
    /// As in [`SweepRow::group`].
    pub group: String,
    /// As in [`PatchRow::layer`](crate::PatchRow::layer).
    pub layer: Layer,
    /// The token whose state is replaced.
    pub token: Token,
    /// What replaces it.
    pub by: Replacement,
    /// Mean over runs of the change of the error at the last checkpoint, itself a mean over pairs of concepts.
    pub change: f64,
    /// Lower end of the 95% interval over runs (Student's t); from two runs on.
    pub lo: Option<f64>,
    /// Upper end of that interval.
    pub hi: Option<f64>,
    /// Runs.
    pub n: usize,
    /// Pairs of concepts in all runs.
    pub pairs: usize,
    /// Pairs whose error is lower: their interval over prompts lies below 0.
    pub lowered: usize,
    /// Pairs whose error is higher: their interval over prompts lies above 0.
    pub raised: usize,
}

/// How well kNN tells two concepts apart at the end of training, over the runs of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanPairRow {
    /// As in [`SweepRow::group`].
    pub group: String,
    /// The token whose states are read, each run's at the layer that is best there.
    pub token: Token,
    /// One concept.
    pub concept: String,
    /// The other one.
    pub other: String,
    /// Mean over runs of [`PairRow::score`](crate::PairRow::score); chance is ½.
    pub score: f64,
    /// Lower end of the 95% interval over runs (Student's t); from two runs on.
    pub lo: Option<f64>,
    /// Upper end of that interval.
    pub hi: Option<f64>,
    /// Runs.
    pub n: usize,
}

/// A column of [`PointRow`] that is averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The error.
    Error,
    /// The error over the optimal predictor's.
    OverBayes,
    /// Decodability.
    Cd,
    /// Accuracy of guessing.
    Chance,
}

/// Where the fall of an error begins. The answer to which moves first is known where the first two agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FallFrom {
    /// The untrained model's error: puts the event early, since most of that fall needs no concept.
    Initial,
    /// The level of ridge regression: puts the event late, since a model may use the concept before it is as precise.
    Ridge,
    /// No fall, but the place from which on the model's answers stay nearest to the optimal predictor's.
    Switch,
}

/// Which points are correlated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Mean over runs of each run's correlation over its concepts and checkpoints.
    Within,
    /// Over all points of all runs.
    Pooled,
    /// The same, of the last checkpoints alone.
    Last,
}

/// A coefficient of correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrelationMethod {
    /// Of the values.
    Pearson,
    /// Of their ranks.
    Spearman,
}

/// What replaces a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replacement {
    /// The mean of the prompts' own concept.
    Own,
    /// The mean of another concept.
    Other,
    /// The mean over concepts.
    Overall,
    /// A random direction.
    Random,
    /// The state as it is.
    Itself,
}

row!(SweepRow, "sweep.csv", |row| Some(row.step));
row!(PointRow, "points.csv", |row| Some(row.step));
row!(CurveRow, "curves.csv", |row| Some(row.step));
row!(LagRow, "lag.csv", |_row| None);
row!(ReplacementRow, "replacement.csv", |_row| None);
row!(CorrelationRow, "correlation.csv", |_row| None);
row!(MeanPairRow, "pairs.csv", |_row| None);
