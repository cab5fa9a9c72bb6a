//! The rows of the tables: how well the right answers do, by concept and prompt by prompt.

use serde::{Deserialize, Serialize};

use crate::row::row;

/// How well the right answer does after a number of demonstrations, over the held-out prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccuracyRow {
    /// Steps of training; of pretraining for language models.
    pub step: usize,
    /// Name of the concept; none for all of them, which count alike.
    pub concept: Option<String>,
    /// Demonstrations ahead of the query.
    pub shots: usize,
    /// Share of prompts whose right answer is what greedy decoding gives, 0 to 1.
    pub accuracy: f64,
    /// Lower end of the 95% interval of `accuracy`, Wilson's.
    pub lo: f64,
    /// Upper end of it.
    pub hi: f64,
    /// Mean natural logarithm of the probability of the right answer, in nats.
    pub log_probability: f64,
    /// Lower end of the 95% interval of `log_probability`, by bootstrap over the prompts.
    pub log_probability_lo: f64,
    /// Upper end of it.
    pub log_probability_hi: f64,
    /// Prompts.
    pub n: usize,
}

/// How well the right answer of one held-out prompt does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// As in [`AccuracyRow::step`].
    pub step: usize,
    /// Number of the prompt among the held-out ones, from 0.
    pub prompt: usize,
    /// Name of its concept.
    pub concept: String,
    /// Demonstrations ahead of the query.
    pub shots: usize,
    /// Whether greedy decoding gives the right answer.
    pub exact: bool,
    /// Natural logarithm of the right answer's probability, in nats.
    pub log_probability: f64,
}

row!(AccuracyRow, "accuracy.csv", |row| Some(row.step));
row!(AnswerRow, "answers.csv", |row| Some(row.step));
