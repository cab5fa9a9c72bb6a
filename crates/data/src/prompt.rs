//! Prompts, their concepts, and how their tokens are named.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::TaskError;

/// Index of a concept in [`Task::concepts`](crate::Task::concepts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConceptId(pub usize);

/// A latent concept: what a prompt's pairs have in common beside their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Concept {
    /// Name in tables and figures.
    pub name: String,
    /// Prior probability; the weights of a task's concepts sum to one.
    pub weight: f64,
}

/// The coordinates of the weight vector that are on: sorted, without repeats, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    coordinates: Vec<usize>,
}

impl Basis {
    pub(crate) fn from_sorted(coordinates: Vec<usize>) -> Self {
        Self { coordinates }
    }

    /// The coordinates, ascending.
    pub fn coordinates(&self) -> &[usize] {
        &self.coordinates
    }

    /// Number of coordinates that are on.
    pub fn rank(&self) -> usize {
        self.coordinates.len()
    }
}

/// Size of every prompt of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptShape {
    /// Pairs in a prompt, K.
    pub n_points: usize,
    /// Width of x, D.
    pub d_x: usize,
}

/// K pairs (x, y) under one concept.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// The concept that the pairs share.
    pub concept: ConceptId,
    /// Inputs, row-major `[n_points, d_x]`.
    pub xs: Vec<f32>,
    /// Targets, `[n_points]`.
    pub ys: Vec<f32>,
}

impl Prompt {
    /// The prompt's first pairs: what a causal model sees of it up to that length.
    ///
    /// # Panics
    /// When it has fewer.
    pub fn first(&self, n_points: usize) -> Self {
        let d_x = self.xs.len() / self.ys.len();
        let (xs, ys) = (self.xs[..n_points * d_x].to_vec(), self.ys[..n_points].to_vec());
        Self { concept: self.concept, xs, ys }
    }

    /// The same prompt with the ys of all pairs but the last exchanged, so that none keeps its own: what the pairs say of the
    /// rule is lost, and the query keeps its answer.
    ///
    /// # Panics
    /// When there are fewer than two pairs before the last.
    pub fn with_ys_permuted(&self, rng: &mut dyn Rng) -> Self {
        let mut permuted = self.clone();
        let before_last = self.ys.len() - 1;
        exchange(before_last, rng, |a, b| permuted.ys.swap(a, b));
        permuted
    }

    /// The pairs in order, x as f64.
    pub fn pairs(&self) -> impl Iterator<Item = (Vec<f64>, f64)> + '_ {
        let d_x = self.xs.len() / self.ys.len();
        let widen = |x: &[f32]| x.iter().map(|&value| f64::from(value)).collect();
        self.xs.chunks_exact(d_x).map(widen).zip(self.ys.iter().map(|&y| f64::from(y)))
    }
}

/// Exchanges things by `swap` until none of them is at its own place: one cycle, uniformly among all of them.
///
/// # Panics
/// When there are fewer than two.
///
/// # Source
/// Sattolo (1986), *An algorithm to generate a random cyclic permutation*.
pub(crate) fn exchange(count: usize, rng: &mut dyn Rng, mut swap: impl FnMut(usize, usize)) {
    assert!(count >= 2, "one thing cannot change its place");
    for last in (1..count).rev() {
        swap(last, rng.random_range(0..last));
    }
}

/// A token of the interleaved sequence x1 y1 x2 y2 …; pairs count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Token {
    /// The input of a pair; the model's prediction of its y is read here.
    X(usize),
    /// The target of a pair.
    Y(usize),
}

impl Token {
    /// Place in the sequence, from 0.
    pub fn index(self) -> usize {
        match self {
            Self::X(pair) => 2 * (pair - 1),
            Self::Y(pair) => 2 * (pair - 1) + 1,
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X(pair) => write!(f, "x{pair}"),
            Self::Y(pair) => write!(f, "y{pair}"),
        }
    }
}

impl FromStr for Token {
    type Err = TaskError;

    fn from_str(name: &str) -> Result<Self, TaskError> {
        /// More pairs than any prompt has.
        const MOST: usize = 1 << 20;
        let number = |digits: &str| digits.parse::<usize>().ok().filter(|pair| (1..=MOST).contains(pair));
        // A name has one spelling: neither x+1 nor x01.
        let pair = |digits: &str| number(digits).filter(|pair| pair.to_string() == digits);
        let token = match name.split_at_checked(1) {
            Some(("x", digits)) => pair(digits).map(Self::X),
            Some(("y", digits)) => pair(digits).map(Self::Y),
            _ => None,
        };
        token.ok_or_else(|| TaskError::out_of_range("token", "x1, y1, x2, y2 and so on", format!("{name:?}")))
    }
}

impl TryFrom<String> for Token {
    type Error = TaskError;

    fn try_from(name: String) -> Result<Self, TaskError> {
        name.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, Stream};

    #[test]
    fn permuted_ys_are_the_same_ys_at_other_xs() {
        let ys: Vec<f32> = (0..6).map(|y| y as f32).collect();
        let prompt = Prompt { concept: ConceptId(0), xs: vec![1.0; 12], ys: ys.clone() };
        for index in 0..50 {
            let permuted = prompt.with_ys_permuted(&mut Stream::new(0, Purpose::Shuffle).rng(index));
            assert_eq!((&permuted.xs, permuted.ys[5]), (&prompt.xs, 5.0), "the query keeps its answer");
            assert!(permuted.ys[..5].iter().zip(&ys).all(|(new, old)| new != old), "{permuted:?}");
            let mut sorted = permuted.ys;
            sorted.sort_by(f32::total_cmp);
            assert_eq!(sorted, ys);
        }
    }

    #[test]
    fn a_token_has_one_name() {
        for token in [Token::X(1), Token::Y(6), Token::X(10)] {
            assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        }
        for name in ["", "x", "x0", "x-1", "x+1", "x01", "z1", "1", "x1048577"] {
            let message = name.parse::<Token>().unwrap_err().to_string();
            assert_eq!(message, format!("token must be x1, y1, x2, y2 and so on, but is {name:?}"));
        }
    }

    #[test]
    fn the_first_pairs_are_those_of_the_prompt() {
        let prompt = Prompt { concept: ConceptId(1), xs: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], ys: vec![7.0, 8.0, 9.0] };
        let expected = Prompt { concept: ConceptId(1), xs: vec![1.0, 2.0, 3.0, 4.0], ys: vec![7.0, 8.0] };
        assert_eq!(prompt.first(2), expected);
    }
}
