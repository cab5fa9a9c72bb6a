//! The rows of the table: answers under a changed state. Intervals are at 95%, by bootstrap over the held-out prompts.

use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// What a state is changed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterventionKind {
    /// The mean of the prompt's own concept.
    Own,
    /// The mean of another concept.
    Other,
    /// The mean of Null, whose answers follow no concept.
    Null,
    /// The mean over concepts.
    Overall,
    /// A direction as long as what the mean of the prompt's own concept would have brought in.
    Random,
    /// The state as it is: the control that must change nothing.
    Itself,
}

/// The answers to the query when the residual stream at its token is changed at one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterventionRow {
    /// Steps of training; of pretraining for language models.
    pub step: usize,
    /// The layer behind whose block the state is changed, from 1.
    pub layer: Layer,
    /// Demonstrations in the prompts that are answered; 0 is a task vector.
    pub shots: usize,
    /// Demonstrations in the prompts that means are taken over.
    pub mean_shots: usize,
    /// What the state is changed with.
    pub kind: InterventionKind,
    /// Concept of the prompts; none for all of them, which count alike.
    pub source: Option<String>,
    /// The other concept whose mean it is; none for the mean over all others, and for other kinds.
    pub target: Option<String>,
    /// Without it the state is replaced. With it the state stays, and this times what it is changed with, less the mean
    /// over concepts, is added: steering.
    pub strength: Option<f64>,
    /// Share of exact answers with the change, 0 to 1.
    pub accuracy: f64,
    /// `accuracy` less that of the same prompts without the change.
    pub accuracy_change: f64,
    /// Lower end of the interval of `accuracy_change`.
    pub accuracy_lo: f64,
    /// Upper end of it.
    pub accuracy_hi: f64,
    /// Mean natural logarithm of the right answer's probability with the change, in nats.
    pub log_probability: f64,
    /// `log_probability` less that of the same prompts without the change.
    pub log_probability_change: f64,
    /// Lower end of the interval of `log_probability_change`.
    pub log_probability_lo: f64,
    /// Upper end of it.
    pub log_probability_hi: f64,
    /// Held-out prompts.
    pub n: usize,
    /// Prompts of every concept behind its mean.
    pub mean_n: usize,
}

row!(InterventionRow, "interventions.csv", |row| Some(row.step));
