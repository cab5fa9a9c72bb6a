//! What a task knows in closed form: predictors that answer a prompt from its pairs, at every prompt length.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::Prompt;

mod lasso;
mod least_squares;
mod mixture;
mod regression;

pub use lasso::Lasso;
pub use least_squares::LeastSquares;
pub(crate) use mixture::softmax;
pub use mixture::{BayesMixture, Mixture};
pub(crate) use regression::Regression;
pub use regression::{Oracle, Ridge, RidgeOnSquares};

/// An algorithm that answers a prompt from its pairs alone (or, for an oracle, from its concept as well).
pub trait Predictor: Debug + Send + Sync {
    /// Name in tables and figures.
    fn name(&self) -> &str;

    /// What it stands for beside a model.
    fn role(&self) -> Role {
        Role::Other
    }

    /// Prediction of y at every pair from the pairs before it.
    ///
    /// # Shapes
    /// `[n_points]`
    fn predict(&self, prompt: &Prompt) -> Vec<f64>;

    /// Posterior over the concepts at every pair given the pairs before it, for predictors that infer the concept.
    ///
    /// # Shapes
    /// `[n_points][n_concepts]`
    fn posterior(&self, _prompt: &Prompt) -> Option<Vec<Vec<f64>>> {
        None
    }
}

/// What a predictor stands for beside a model, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It looks at nothing: no model should be worse.
    Trivial,
    /// The best that can be done without inferring the concept, where that is a level to compare with.
    WithoutConcept,
    /// No predictor that is not told the concept has a lower expected error.
    Optimal,
    /// It is told the concept.
    Oracle,
    /// None of these.
    Other,
}

/// Always predicts zero, the prior mean of y.
#[derive(Clone, Copy, Debug)]
pub struct Zero;

impl Predictor for Zero {
    fn name(&self) -> &str {
        "zero"
    }

    fn role(&self) -> Role {
        Role::Trivial
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        vec![0.0; prompt.ys.len()]
    }
}

/// Log density of a normal distribution at a distance from its mean.
/// The variance of what a function of variance `signal` does not say about y. Pairs are stored as f32, so y is never known
/// better than to their rounding.
pub(crate) fn with_rounding(noise_variance: f64, signal: f64) -> f64 {
    noise_variance.max(signal * f64::from(f32::EPSILON).powi(2)).max(f64::MIN_POSITIVE)
}

pub(crate) fn log_normal(residual: f64, variance: f64) -> f64 {
    -0.5 * (residual * residual / variance + variance.ln() + (2.0 * std::f64::consts::PI).ln())
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
