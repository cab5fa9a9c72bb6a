//! How far answers go from a prompt's own to those of its twin; intervals are at 95%, by bootstrap over prompts.

use clap::ValueEnum;
use data::Token;
use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// The tokens whose states are interchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum Places {
    /// The query's x token, where the answer is read
    QueryX,
    /// The y token before it
    LastY,
    /// Every y token before it
    EveryY,
    /// Every token before it
    BeforeQuery,
    /// Every token: the model reads the twin
    #[value(skip)]
    Everywhere,
}

/// What takes the place of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Donor {
    /// That of the prompt's twin.
    Twin,
    /// That of the twin of another prompt, where both twins have the same concept: nothing but the concept agrees.
    OtherTwin,
    /// The mean over prompts of the twin's concept.
    ConceptMean,
    /// The state, to which the mean of the twin's concept less that of its own is added.
    MeanDifference,
    /// The mean over prompts of its own concept: a control.
    OwnMean,
    /// That of another prompt of its own concept: a control.
    SameConcept,
    /// That of a prompt's twin taken at random: a control.
    Permuted,
    /// The state moved as far as to the twin in a random direction, or inside a random subspace: a control.
    Random,
    /// The state as it is: the control that must change nothing.
    Itself,
}

/// How the directions of a subspace were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum Subspace {
    /// Linear discriminants: where the concepts' means differ most, in units of the spread inside concepts
    Linear,
    /// Where the concepts' covariances and means differ most, in the same units
    Quadratic,
    /// Those that interchange does most with, found by gradient descent on other prompts
    Searched,
}

/// Where an answer would go if the interchange did all that it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The optimal predictor's answer to the twin.
    Twin,
    /// The answer to the prompt's own pairs of a predictor that takes the twin's concept for granted.
    Concept,
}

impl Donor {
    /// All of them.
    pub(in crate::measurements) const ALL: [Self; 9] = [
        Self::Twin,
        Self::OtherTwin,
        Self::ConceptMean,
        Self::MeanDifference,
        Self::OwnMean,
        Self::SameConcept,
        Self::Permuted,
        Self::Random,
        Self::Itself,
    ];
}

/// How far the answers to the query go when states are interchanged at one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterchangeRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// 0 is the embedding, l the residual stream after block l.
    pub layer: Layer,
    /// The tokens whose states are changed.
    pub places: Places,
    /// What takes their place.
    pub donor: Donor,
    /// How the directions were found in which states are changed; none where they are changed as a whole.
    pub subspace: Option<Subspace>,
    /// How many directions.
    pub rank: Option<usize>,
    /// Where the answers would go.
    pub target: Target,
    /// How far they go there from the prompt's own optimal answer, as a share of the way: 0 not at all, 1 all of it. An answer
    /// that is lost goes a part of the way as well; the weights tell.
    pub slope: f64,
    /// Lower end of the interval of `slope`.
    pub slope_lo: f64,
    /// Upper end of the interval of `slope`.
    pub slope_hi: f64,
    /// Weight of the prompt's own optimal answer in the answers, beside that of the target.
    pub own_weight: f64,
    /// Weight of the target in the answers.
    pub target_weight: f64,
    /// Lower end of the interval of `target_weight`.
    pub weight_lo: f64,
    /// Upper end of the interval of `target_weight`.
    pub weight_hi: f64,
    /// Prompts.
    pub n: usize,
}

row!(InterchangeRow, "interchange.csv", |row| Some(row.step));

impl InterchangeRow {
    /// Whether whole states of `donor` took the place, and the answers are held to what its concept makes of the own pairs.
    pub(super) fn is_of_concept(&self, donor: Donor) -> bool {
        self.donor == donor && self.subspace.is_none() && self.target == Target::Concept
    }
}

impl Places {
    /// The tokens, of prompts of so many pairs.
    pub(in crate::measurements) fn tokens(self, n_points: usize) -> Vec<Token> {
        let ys = (1..n_points).map(Token::Y);
        match self {
            Self::QueryX => vec![Token::X(n_points)],
            Self::LastY => ys.rev().take(1).collect(),
            Self::EveryY => ys.collect(),
            Self::BeforeQuery => (1..n_points).flat_map(|pair| [Token::X(pair), Token::Y(pair)]).collect(),
            Self::Everywhere => (1..=n_points).flat_map(|pair| [Token::X(pair), Token::Y(pair)]).collect(),
        }
    }
}
