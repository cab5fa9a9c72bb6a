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
    /// Tokens whose hidden states are probed: `query_x`, `last_y`, or a token by name such as `x7`. At least one, none twice;
    /// of prompts of text none, which are probed behind their demonstrations.
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
    /// Checks everything but the tokens.
    pub(crate) fn check(&self, n_concepts: usize) -> Result<(), ProbeError> {
        ProbeError::check("the task's number of concepts", "at least 1", n_concepts, n_concepts >= 1)?;
        let per_concept = self.prompts_per_concept;
        ProbeError::check(
            "probe.prompts_per_concept",
            "between 2 and 10000",
            per_concept,
            (2..=10_000).contains(&per_concept),
        )?;
        let prompts = per_concept * n_concepts;
        let once = self.probes.contains(&ProbeKind::CD) && each_once(&self.probes);
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
        let Self { ridge, shrinkage, .. } = *self;
        let positive = ridge.is_finite() && ridge > 0.0;
        ProbeError::check("probe.ridge", "a finite number above 0", format!("{ridge:?}"), positive)?;
        let share = shrinkage > 0.0 && shrinkage <= 1.0;
        ProbeError::check("probe.shrinkage", "above 0 and at most 1", format!("{shrinkage:?}"), share)?;
        ProbeError::check("probe.resamples", "between 2 and 1000", self.resamples, (2..=1000).contains(&self.resamples))
    }

    /// The tokens, in prompts of `n_points` pairs of numbers.
    pub(crate) fn tokens_of(&self, n_points: usize) -> Result<Vec<Token>, ProbeError> {
        let tokens: Vec<Token> = self.tokens.iter().map(|token| token.resolve(n_points)).collect::<Result<_, _>>()?;
        let listed = tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(", ");
        let some = !tokens.is_empty() && each_once(&tokens);
        ProbeError::check("probe.tokens", "a list of tokens in which none comes twice", format!("[{listed}]"), some)?;
        Ok(tokens)
    }

    /// The x token behind each number of demonstrations, in prompts of `n_points` pairs of text.
    pub(crate) fn tokens_after(&self, shots: &[usize], n_points: usize) -> Result<Vec<Token>, ProbeError> {
        let listed = self.tokens.iter().map(ProbeToken::to_string).collect::<Vec<_>>().join(", ");
        let range = "empty for prompts of text, which are probed where shots says";
        ProbeError::check("probe.tokens", range, format!("[{listed}]"), self.tokens.is_empty())?;
        let last = n_points.saturating_sub(1);
        let some = !shots.is_empty() && each_once(shots) && shots.iter().all(|&shots| shots < n_points);
        let range = format!("a list of numbers from 0 to {last} in which none comes twice");
        ProbeError::check("shots", range, format!("{shots:?}"), some)?;
        Ok(shots.iter().map(|shots| Token::X(shots + 1)).collect())
    }
}

fn each_once<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(i, value)| !values[..i].contains(value))
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

/// A probe as tables name it: itself, or a control of it with the control's name behind its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProbeReading {
    /// The probe.
    pub probe: ProbeKind,
    /// Which control it is; none for the probe itself.
    pub control: Option<Control>,
}

/// A control: the same probe on something that has less of what the model learned, for its score to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The same states with permuted labels.
    Shuffled,
    /// States of the same architecture with weights drawn anew.
    Untrained,
    /// States of prompts in which the answers of the demonstrations are permuted.
    PermutedAnswers,
    /// The bag of the demonstrations' answers, without any model.
    Bag,
}

impl Control {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Shuffled, Self::Untrained, Self::PermutedAnswers, Self::Bag];

    /// What it is called.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Shuffled => "permuted labels",
            Self::Untrained => "untrained model",
            Self::PermutedAnswers => "permuted answers",
            Self::Bag => "bag of answers",
        }
    }

    /// What stands behind a probe's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::Shuffled => "_shuffled",
            Self::Untrained => "_untrained",
            Self::PermutedAnswers => "_permuted_answers",
            Self::Bag => "_bag",
        }
    }
}

impl ProbeReading {
    /// Concept Decodability.
    pub const CD: Self = Self::of(ProbeKind::CD);

    /// The probe on true labels and on states of the model itself.
    pub const fn of(probe: ProbeKind) -> Self {
        Self { probe, control: None }
    }

    /// A control of the probe.
    pub const fn control(probe: ProbeKind, control: Control) -> Self {
        Self { probe, control: Some(control) }
    }
}

impl fmt::Display for ProbeReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.probe.name(), self.control.map_or("", Control::suffix))
    }
}

impl TryFrom<String> for ProbeReading {
    type Error = ProbeError;

    fn try_from(name: String) -> Result<Self, ProbeError> {
        let of_control = |control: Control| Some((name.strip_suffix(control.suffix())?, control));
        match Control::ALL.into_iter().find_map(of_control) {
            Some((probe, control)) => Ok(Self::control(probe.parse()?, control)),
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
            range: "query_x, last_y, x1, y1, x2, y2 and so on".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_is_read_back_from_its_name() {
        let names = |probe| {
            let controls = Control::ALL.into_iter().map(move |control| ProbeReading::control(probe, control));
            std::iter::once(ProbeReading::of(probe)).chain(controls)
        };
        let all: Vec<ProbeReading> = ProbeKind::ALL.into_iter().flat_map(names).collect();
        for reading in &all {
            assert_eq!(ProbeReading::try_from(reading.to_string()).unwrap(), *reading);
        }
        let written: Vec<String> = all[..5].iter().map(ProbeReading::to_string).collect();
        assert_eq!(written, ["knn", "knn_shuffled", "knn_untrained", "knn_permuted_answers", "knn_bag"]);
        for name in ["", "knn_", "_shuffled", "knn_bag_shuffled", "knn_Shuffled", "bayes"] {
            assert!(ProbeReading::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
