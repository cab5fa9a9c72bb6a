//! The rows of the table: decodability along the prompt.

use std::fmt;

use probe::{Layer, ProbeReading};
use serde::{Deserialize, Serialize};

use crate::row::row;

/// Who reads the concept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Reader {
    /// A probe or its control, of hidden states.
    Probe(ProbeReading),
    /// A predictor that infers the concept from the pairs: its likeliest concept.
    Predictor(String),
    /// Its posterior on the true concept; the predictor's name with `_posterior` behind it.
    Posterior(String),
}

/// How well the concept is read at the x token of one pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositionRow {
    /// Optimizer steps taken; empty for a predictor.
    pub step: Option<usize>,
    /// 1-based pair whose x token is read; it comes after `position - 1` whole pairs.
    pub position: usize,
    /// Who reads.
    pub reader: Reader,
    /// The layer read, chosen for this pair on the other half of the resamples; empty for a predictor.
    pub layer: Option<Layer>,
    /// Mean accuracy, 0 to 1: for a predictor that of its likeliest concept, or its mean posterior on the true one.
    pub score: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Lower end of the 95% interval over resamples.
    pub lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub hi: f64,
}

row!(PositionRow, "cd_positions.csv", |row| row.step);

impl Reader {
    const POSTERIOR: &str = "_posterior";
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(reading) => reading.fmt(f),
            Self::Predictor(name) => f.write_str(name),
            Self::Posterior(name) => write!(f, "{name}{}", Self::POSTERIOR),
        }
    }
}

impl From<String> for Reader {
    /// What is no probe is a predictor, whose names are open.
    fn from(name: String) -> Self {
        match (ProbeReading::try_from(name.clone()), name.strip_suffix(Self::POSTERIOR)) {
            (Ok(reading), _) => Self::Probe(reading),
            (Err(_), Some(predictor)) => Self::Posterior(predictor.to_owned()),
            (Err(_), None) => Self::Predictor(name),
        }
    }
}

impl From<Reader> for String {
    fn from(reader: Reader) -> Self {
        reader.to_string()
    }
}
