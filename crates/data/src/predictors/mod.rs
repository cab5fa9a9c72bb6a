//! What a task knows in closed form: predictors that answer a prompt from its pairs, at every prompt length.

use std::fmt::Debug;

use crate::Prompt;

mod lasso;
mod least_squares;
mod mixture;
mod regression;

pub use lasso::Lasso;
pub use least_squares::LeastSquares;
pub use mixture::{BayesMixture, Mixture};
pub(crate) use regression::Regression;
pub use regression::{Oracle, Ridge, RidgeOnSquares};

/// An algorithm that answers a prompt from its pairs alone (or, for an oracle, from its concept as well).
pub trait Predictor: Debug + Send + Sync {
    /// Name in tables and figures.
    fn name(&self) -> &str;

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

/// Always predicts zero, the prior mean of y.
#[derive(Clone, Copy, Debug)]
pub struct Zero;

impl Predictor for Zero {
    fn name(&self) -> &str {
        "zero"
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        vec![0.0; prompt.ys.len()]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
