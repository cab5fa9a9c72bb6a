//! Closed-form predictors of sparse linear regression, in f64, updated pair by pair.

use std::fmt::Debug;

use crate::{Basis, Prompt};

/// A reference that answers a prompt from its pairs alone (or, for an oracle, from its concept as well).
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

/// Ridge regression over all coordinates: the best linear predictor that does not infer the concept.
#[derive(Clone, Debug)]
pub struct Ridge {
    pub(crate) prior: Regression,
}

impl Predictor for Ridge {
    fn name(&self) -> &str {
        "ridge"
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        predict_online(self.prior.clone(), prompt)
    }
}

/// Ridge regression on the true basis: what could be reached if the concept were told.
#[derive(Clone, Debug)]
pub struct Oracle {
    pub(crate) priors: Vec<Regression>,
}

impl Predictor for Oracle {
    fn name(&self) -> &str {
        "oracle"
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        predict_online(self.priors[prompt.concept.0].clone(), prompt)
    }
}

/// The optimal predictor: y* = Σ_k p_k · E[y | basis k], with p_k ∝ prior_k · N(y; 0, X_k X_kᵀ + s² I).
///
/// # Source
/// Bayes' rule; the paper names the optimal predictor and gives no formula.
#[derive(Clone, Debug)]
pub struct BayesMixture {
    pub(crate) priors: Vec<Regression>,
    pub(crate) weights: Vec<f64>,
}

impl BayesMixture {
    /// Posterior and prediction at every pair, in one pass.
    fn infer(&self, prompt: &Prompt) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut regressions = self.priors.clone();
        let mut log_joint: Vec<f64> = self.weights.iter().map(|weight| weight.ln()).collect();
        let mut posteriors = Vec::with_capacity(prompt.ys.len());
        let mut predictions = Vec::with_capacity(prompt.ys.len());
        for (x, y) in prompt.pairs() {
            let posterior = softmax(&log_joint);
            predictions.push(posterior.iter().zip(&regressions).map(|(p, regression)| p * regression.mean(&x)).sum());
            posteriors.push(posterior);
            for (log_joint, regression) in log_joint.iter_mut().zip(&mut regressions) {
                *log_joint += regression.observe(&x, y);
            }
        }
        (posteriors, predictions)
    }
}

impl Predictor for BayesMixture {
    fn name(&self) -> &str {
        "bayes"
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        self.infer(prompt).1
    }

    fn posterior(&self, prompt: &Prompt) -> Option<Vec<Vec<f64>>> {
        Some(self.infer(prompt).0)
    }
}

/// Bayesian linear regression on some coordinates, updated by one pair at a time (recursive least squares).
#[derive(Clone, Debug)]
pub(crate) struct Regression {
    coordinates: Vec<usize>,
    /// Posterior mean of the weights, `[rank]`.
    mean: Vec<f64>,
    /// Posterior covariance of the weights, row-major `[rank, rank]`.
    covariance: Vec<f64>,
    noise_variance: f64,
}

impl Regression {
    /// The prior: independent weights of variance `weight_variance` on the basis, none elsewhere.
    pub(crate) fn prior(basis: &Basis, weight_variance: f64, noise_variance: f64) -> Self {
        // Pairs are stored as f32, so y is never known better than to their rounding.
        let rounding = weight_variance * basis.rank() as f64 * f64::from(f32::EPSILON).powi(2);
        let rank = basis.rank();
        let mut covariance = vec![0.0; rank * rank];
        covariance.iter_mut().step_by(rank + 1).for_each(|variance| *variance = weight_variance);
        Self {
            coordinates: basis.coordinates().to_vec(),
            mean: vec![0.0; rank],
            covariance,
            noise_variance: noise_variance.max(rounding).max(f64::MIN_POSITIVE),
        }
    }

    /// Posterior mean of y at `x`.
    fn mean(&self, x: &[f64]) -> f64 {
        self.coordinates.iter().zip(&self.mean).map(|(&i, w)| x[i] * w).sum()
    }

    /// Conditions on a pair and returns its log density given the pairs before it.
    fn observe(&mut self, x: &[f64], y: f64) -> f64 {
        let rank = self.mean.len();
        let x_on: Vec<f64> = self.coordinates.iter().map(|&i| x[i]).collect();
        let gain: Vec<f64> = self.covariance.chunks_exact(rank).map(|row| dot(row, &x_on)).collect();
        // The product cannot be negative but for rounding.
        let variance = self.noise_variance + dot(&gain, &x_on).max(0.0);
        let residual = y - dot(&self.mean, &x_on);
        for (mean, gain) in self.mean.iter_mut().zip(&gain) {
            *mean += gain * residual / variance;
        }
        for (row, gain_i) in self.covariance.chunks_exact_mut(rank).zip(&gain) {
            row.iter_mut().zip(&gain).for_each(|(c, gain_j)| *c -= gain_i * gain_j / variance);
        }
        -0.5 * (residual * residual / variance + variance.ln() + (2.0 * std::f64::consts::PI).ln())
    }
}

fn predict_online(mut regression: Regression, prompt: &Prompt) -> Vec<f64> {
    let step = |(x, y): (Vec<f64>, f64)| {
        let prediction = regression.mean(&x);
        regression.observe(&x, y);
        prediction
    };
    prompt.pairs().map(step).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|value| value / sum).collect()
}

#[cfg(test)]
mod tests {
    use crate::{ConceptId, Purpose, SparseRegressionConfig, Stream, Task};

    /// Rounding of a 16-dimensional f64 solve whose ridge is 0.04; both sides are exact otherwise.
    const SOLVE_TOLERANCE: f64 = 1e-9;

    /// Solves a x = b by Gaussian elimination with pivoting.
    fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for column in 0..n {
            let pivot = (column..n).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs())).unwrap();
            a.swap(column, pivot);
            b.swap(column, pivot);
            for row in column + 1..n {
                let factor = a[row][column] / a[column][column];
                let pivot_row = a[column].clone();
                a[row].iter_mut().zip(pivot_row).skip(column).for_each(|(value, pivot)| *value -= factor * pivot);
                b[row] -= factor * b[column];
            }
        }
        for row in (0..n).rev() {
            let known: f64 = (row + 1..n).map(|k| a[row][k] * b[k]).sum();
            b[row] = (b[row] - known) / a[row][row];
        }
        b
    }

    /// Ridge regression fitted from nothing: (Xᵀ X + s²/v I)⁻¹ Xᵀ y, at the coordinates of `basis`.
    fn refitted(pairs: &[(Vec<f64>, f64)], basis: &[usize], ratio: f64, x: &[f64]) -> f64 {
        let gram = |i: usize, j: usize| {
            let sum: f64 = pairs.iter().map(|(x, _)| x[basis[i]] * x[basis[j]]).sum();
            if i == j { sum + ratio } else { sum }
        };
        let a = (0..basis.len()).map(|i| (0..basis.len()).map(|j| gram(i, j)).collect()).collect();
        let b = basis.iter().map(|&i| pairs.iter().map(|(x, y)| x[i] * y).sum()).collect();
        solve(a, b).iter().zip(basis).map(|(w, &i)| w * x[i]).sum()
    }

    #[test]
    fn updating_pair_by_pair_equals_refitting_every_prefix() {
        let task = SparseRegressionConfig::paper().build().unwrap();
        let prompt = task.sample(ConceptId(1), &mut Stream::new(0, Purpose::Eval).rng(0));
        let pairs: Vec<_> = prompt.pairs().collect();
        let predictors = task.predictors();
        let (ridge, oracle) = (predictors[1].predict(&prompt), predictors[3].predict(&prompt));
        let all: Vec<usize> = (0..16).collect();
        for (i, (x, _)) in pairs.iter().enumerate() {
            assert!((ridge[i] - refitted(&pairs[..i], &all, 0.01 / 0.25, x)).abs() < SOLVE_TOLERANCE);
            assert!((oracle[i] - refitted(&pairs[..i], &[4, 5, 6, 7], 0.01, x)).abs() < SOLVE_TOLERANCE);
        }
    }

    #[test]
    fn the_posterior_is_a_distribution_that_starts_at_the_prior() {
        let config =
            SparseRegressionConfig { weights: Some(vec![1.0, 2.0, 3.0, 4.0]), ..SparseRegressionConfig::paper() };
        let task = config.build().unwrap();
        let prompt = task.sample(ConceptId(3), &mut Stream::new(0, Purpose::Eval).rng(1));
        let posterior = task.predictors()[2].posterior(&prompt).unwrap();
        for (found, expected) in posterior[0].iter().zip([0.1, 0.2, 0.3, 0.4]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert!(posterior.iter().all(|over| (over.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    }
}
