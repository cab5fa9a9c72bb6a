//! What reads the concept from hidden states, and from which.

use std::fmt;
use std::str::FromStr;

use data::Token;
use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::config::check;

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
    pub(crate) fn check(&self, n_points: usize, n_concepts: usize) -> Result<Vec<Token>, ConfigError> {
        let per_concept = self.prompts_per_concept;
        check("probe.prompts_per_concept", "between 2 and 10000", per_concept, (2..=10_000).contains(&per_concept))?;
        let prompts = per_concept * n_concepts;
        let once = self.probes.contains(&ProbeKind::CD)
            && self.probes.iter().enumerate().all(|(i, probe)| !self.probes[..i].contains(probe));
        let listed = self.probes.iter().map(|probe| probe.name()).collect::<Vec<_>>().join(", ");
        check("probe.probes", "a list with knn in which no probe comes twice", format!("[{listed}]"), once)?;
        let range = format!("between 1 and one less than the prompts of all concepts ({})", prompts - 1);
        check("probe.neighbours", range, self.neighbours, (1..prompts).contains(&self.neighbours))?;
        let range = format!("between 2 and the prompts of all concepts ({prompts})");
        check("probe.folds", range, self.folds, (2..=prompts).contains(&self.folds))?;
        check("probe.ridge", "a finite number above 0", self.ridge, self.ridge.is_finite() && self.ridge > 0.0)?;
        let share = self.shrinkage > 0.0 && self.shrinkage <= 1.0;
        check("probe.shrinkage", "above 0 and at most 1", self.shrinkage, share)?;
        check("probe.resamples", "between 2 and 1000", self.resamples, (2..=1000).contains(&self.resamples))?;
        let tokens: Vec<Token> = self.tokens.iter().map(|token| token.resolve(n_points)).collect::<Result<_, _>>()?;
        let listed = tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(", ");
        let some = !tokens.is_empty() && tokens.iter().enumerate().all(|(i, token)| !tokens[..i].contains(token));
        check("probe.tokens", "a list of tokens in which none comes twice", format!("[{listed}]"), some)?;
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

impl FromStr for ProbeKind {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        Self::ALL.into_iter().find(|probe| probe.name() == name).ok_or_else(|| ConfigError::OutOfRange {
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
    pub fn resolve(self, n_points: usize) -> Result<Token, ConfigError> {
        let token = match self {
            Self::QueryX => Token::X(n_points),
            Self::LastY => Token::Y(n_points),
            Self::At(token) => token,
        };
        let (Token::X(pair) | Token::Y(pair)) = token;
        let range = format!("query_x, last_y, x1 … x{n_points} or y1 … y{n_points}");
        check("probe.tokens", range, token, (1..=n_points).contains(&pair))?;
        Ok(token)
    }
}

impl FromStr for ProbeToken {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let pair = |digits: &str| digits.parse::<usize>().ok();
        let token = match name.split_at_checked(1) {
            _ if name == "query_x" => Some(Self::QueryX),
            _ if name == "last_y" => Some(Self::LastY),
            Some(("x", digits)) => pair(digits).map(|pair| Self::At(Token::X(pair))),
            Some(("y", digits)) => pair(digits).map(|pair| Self::At(Token::Y(pair))),
            _ => None,
        };
        token.ok_or_else(|| ConfigError::OutOfRange {
            field: "probe.tokens".to_owned(),
            range: "query_x, last_y, xN or yN".to_owned(),
            value: format!("{name:?}"),
        })
    }
}

impl TryFrom<String> for ProbeToken {
    type Error = ConfigError;

    fn try_from(name: String) -> Result<Self, ConfigError> {
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
