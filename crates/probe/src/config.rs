//! What reads the concept from hidden states, and from which.

use std::fmt;
use std::str::FromStr;

use data::Token;
use serde::{Deserialize, Serialize};

use crate::ProbeError;

/// The `[probe]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// What is scored, each probe once and `knn` among them.
    pub probes: Vec<ProbeKind>,
    /// Neighbours that vote, k; 1 to the number of prompts less one.
    pub neighbours: usize,
    /// Parts the states are split into for the probes that are fitted: each part is guessed from the others; 2 to the
    /// number of prompts.
    pub folds: usize,
    /// Strength of the linear probe's penalty, above 0, in units of one state with standardised features.
    pub ridge: f64,
    /// Share of the identity in the quadratic probe's covariances, above 0 and at most 1.
    pub shrinkage: f64,
    /// Prompts of every concept in a resample, N; 2 to 10,000.
    pub prompts_per_concept: usize,
    /// Independent sets of prompts that the score is averaged over, 2 to 1,000.
    pub resamples: usize,
    /// Tokens whose hidden states are probed: `query_x`, `last_y`, or a token by name such as `x7`. At least one, none twice.
    pub tokens: Vec<ProbeToken>,
}

/// The `[eval]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Held-out prompts of every concept, 1 to 100,000.
    pub prompts_per_concept: usize,
}

impl EvalConfig {
    pub(crate) fn check(&self) -> Result<(), ProbeError> {
        let prompts = self.prompts_per_concept;
        ProbeError::check("eval.prompts_per_concept", "between 1 and 100000", prompts, (1..=100_000).contains(&prompts))
    }
}

/// A probe: a reader of the concept from hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// k nearest neighbours by Euclidean distance, on the states as they are.
    Knn,
    /// k nearest neighbours by the angle between the states.
    KnnCosine,
    /// The nearest mean of a concept.
    Centroid,
    /// Ridge regression of the concept on the states.
    Linear,
    /// A Gaussian with a mean and a covariance for every concept.
    Quadratic,
}

/// A token named in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ProbeToken {
    /// The x token of the last pair, where the last prediction is read.
    QueryX,
    /// The y token of the last pair.
    LastY,
    /// A token by its name.
    At(Token),
}

impl ProbeConfig {
    pub(crate) fn check(&self, n_points: usize, n_concepts: usize) -> Result<Vec<Token>, ProbeError> {
        ProbeError::check("the task's number of concepts", "at least 1", n_concepts, n_concepts >= 1)?;
        let per_concept = self.prompts_per_concept;
        ProbeError::check(
            "probe.prompts_per_concept",
            "between 2 and 10000",
            per_concept,
            (2..=10_000).contains(&per_concept),
        )?;
        let prompts = per_concept * n_concepts;
        let once = self.probes.contains(&ProbeKind::CD)
            && self.probes.iter().enumerate().all(|(i, probe)| !self.probes[..i].contains(probe));
        let listed = self.probes.iter().map(|probe| probe.name()).collect::<Vec<_>>().join(", ");
        ProbeError::check(
            "probe.probes",
            "a list with knn in which no probe comes twice",
            format!("[{listed}]"),
            once,
        )?;
        let range = format!("between 1 and one less than the prompts of all concepts ({})", prompts - 1);
        ProbeError::check("probe.neighbours", range, self.neighbours, (1..prompts).contains(&self.neighbours))?;
        let range = format!("between 2 and the prompts of all concepts ({prompts})");
        ProbeError::check("probe.folds", range, self.folds, (2..=prompts).contains(&self.folds))?;
        ProbeError::check(
            "probe.ridge",
            "a finite number above 0",
            self.ridge,
            self.ridge.is_finite() && self.ridge > 0.0,
        )?;
        let share = self.shrinkage > 0.0 && self.shrinkage <= 1.0;
        ProbeError::check("probe.shrinkage", "above 0 and at most 1", self.shrinkage, share)?;
        ProbeError::check(
            "probe.resamples",
            "between 2 and 1000",
            self.resamples,
            (2..=1000).contains(&self.resamples),
        )?;
        let tokens: Vec<Token> = self.tokens.iter().map(|token| token.resolve(n_points)).collect::<Result<_, _>>()?;
        let listed = tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(", ");
        let some = !tokens.is_empty() && tokens.iter().enumerate().all(|(i, token)| !tokens[..i].contains(token));
        ProbeError::check("probe.tokens", "a list of tokens in which none comes twice", format!("[{listed}]"), some)?;
        Ok(tokens)
    }
}

impl ProbeKind {
    /// The one whose score is called Concept Decodability: the paper's.
    pub const CD: Self = Self::Knn;

    /// Every one.
    pub const ALL: [Self; 5] = [Self::Knn, Self::KnnCosine, Self::Centroid, Self::Linear, Self::Quadratic];

    /// Its name in configurations and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Knn => "knn",
            Self::KnnCosine => "knn_cosine",
            Self::Centroid => "centroid",
            Self::Linear => "linear",
            Self::Quadratic => "quadratic",
        }
    }
}

/// A probe as tables name it: itself, or with `_shuffled` behind its name its control with permuted labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProbeReading {
    /// The probe.
    pub probe: ProbeKind,
    /// Whether the labels were permuted.
    pub control: bool,
}

impl ProbeReading {
    /// What stands behind a probe's name for its control.
    const CONTROL: &str = "_shuffled";
    /// Concept Decodability.
    pub const CD: Self = Self::of(ProbeKind::CD);

    /// The probe on the true labels.
    pub const fn of(probe: ProbeKind) -> Self {
        Self { probe, control: false }
    }

    /// The probe on permuted labels.
    pub const fn control(probe: ProbeKind) -> Self {
        Self { probe, control: true }
    }
}

impl fmt::Display for ProbeReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.probe.name(), if self.control { Self::CONTROL } else { "" })
    }
}

impl TryFrom<String> for ProbeReading {
    type Error = ProbeError;

    fn try_from(name: String) -> Result<Self, ProbeError> {
        match name.strip_suffix(Self::CONTROL) {
            Some(probe) => Ok(Self::control(probe.parse()?)),
            None => Ok(Self::of(name.parse()?)),
        }
    }
}

impl From<ProbeReading> for String {
    fn from(reading: ProbeReading) -> Self {
        reading.to_string()
    }
}

impl FromStr for ProbeKind {
    type Err = ProbeError;

    fn from_str(name: &str) -> Result<Self, ProbeError> {
        Self::ALL.into_iter().find(|probe| probe.name() == name).ok_or_else(|| ProbeError::OutOfRange {
            field: "probe".to_owned(),
            range: format!("one of {}", Self::ALL.map(Self::name).join(", ")),
            value: name.to_owned(),
        })
    }
}

impl ProbeToken {
    /// The token it is in prompts of `n_points` pairs.
    ///
    /// # Errors
    /// When they have no such token.
    pub fn resolve(self, n_points: usize) -> Result<Token, ProbeError> {
        let token = match self {
            Self::QueryX => Token::X(n_points),
            Self::LastY => Token::Y(n_points),
            Self::At(token) => token,
        };
        let (Token::X(pair) | Token::Y(pair)) = token;
        let range = format!("query_x, last_y, x1 … x{n_points} or y1 … y{n_points}");
        ProbeError::check("probe.tokens", range, token, (1..=n_points).contains(&pair))?;
        Ok(token)
    }
}

impl FromStr for ProbeToken {
    type Err = ProbeError;

    fn from_str(name: &str) -> Result<Self, ProbeError> {
        let token = match name {
            "query_x" => Some(Self::QueryX),
            "last_y" => Some(Self::LastY),
            name => name.parse().ok().map(Self::At),
        };
        token.ok_or_else(|| ProbeError::OutOfRange {
            field: "probe.tokens".to_owned(),
            range: "query_x, last_y, xN or yN".to_owned(),
            value: format!("{name:?}"),
        })
    }
}

impl TryFrom<String> for ProbeToken {
    type Error = ProbeError;

    fn try_from(name: String) -> Result<Self, ProbeError> {
        name.parse()
    }
}

impl From<ProbeToken> for String {
    fn from(token: ProbeToken) -> Self {
        token.to_string()
    }
}

impl fmt::Display for ProbeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueryX => f.write_str("query_x"),
            Self::LastY => f.write_str("last_y"),
            Self::At(token) => token.fmt(f),
        }
    }
}
