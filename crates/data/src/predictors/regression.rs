//! Bayesian linear regression on some coordinates, and the predictors that are one such regression.

use super::{Predictor, dot, log_normal, with_rounding};
use crate::{Basis, Prompt, Role};

/// Ridge regression over all coordinates: the best linear predictor that does not infer the concept.
///
/// Its strength is s² / v, with s² the variance of the noise and v the mean variance of the entries of w. That is the
/// tuned one: if x is isotropic, the error depends on the covariance of w through its trace alone, and for w of
/// covariance v I this is Bayes' answer at every prompt length.
#[derive(Clone, Debug)]
pub struct Ridge {
    pub(crate) prior: Regression,
}

impl Predictor for Ridge {
    fn name(&self) -> &str {
        "ridge"
    }

    fn role(&self) -> Role {
        Role::WithoutConcept
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        predict_online(self.prior.clone(), prompt.pairs())
    }
}

/// Ridge regression over the squares of all coordinates.
#[derive(Clone, Debug)]
pub struct RidgeOnSquares {
    pub(crate) prior: Regression,
}

impl Predictor for RidgeOnSquares {
    fn name(&self) -> &str {
        "ridge_on_squares"
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        let squared = |(x, y): (Vec<f64>, f64)| (x.iter().map(|value| value * value).collect(), y);
        predict_online(self.prior.clone(), prompt.pairs().map(squared))
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

    fn role(&self) -> Role {
        Role::Oracle
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        predict_online(self.priors[prompt.concept.0].clone(), prompt.pairs())
    }
}

/// Bayesian linear regression on some coordinates, updated by one pair at a time (recursive least squares).
///
/// What is kept of the covariance is a square root of it. The covariance itself would lose its digits where the noise is
/// small: it is a difference of nearly equal matrices.
///
/// # Source
/// Potter's update: Bierman (1977), *Factorization Methods for Discrete Sequential Estimation*.
#[derive(Clone, Debug)]
pub(crate) struct Regression {
    coordinates: Vec<usize>,
    /// Posterior mean of the weights, `[rank]`.
    mean: Vec<f64>,
    /// S of the posterior covariance S Sᵀ of the weights, row-major `[rank, rank]`.
    root: Vec<f64>,
    noise_variance: f64,
}

impl Regression {
    /// The prior: independent weights of variance `weight_variance` on the basis, none elsewhere.
    pub(crate) fn prior(basis: &Basis, weight_variance: f64, noise_variance: f64) -> Self {
        let rank = basis.rank();
        let mut root = vec![0.0; rank * rank];
        root.iter_mut().step_by(rank + 1).for_each(|diagonal| *diagonal = weight_variance.sqrt());
        Self {
            coordinates: basis.coordinates().to_vec(),
            mean: vec![0.0; rank],
            root,
            noise_variance: with_rounding(noise_variance, weight_variance * rank as f64),
        }
    }

    /// Posterior mean of y at `x`.
    pub(super) fn mean(&self, x: &[f64]) -> f64 {
        self.coordinates.iter().zip(&self.mean).map(|(&i, w)| x[i] * w).sum()
    }

    /// Conditions on a pair and returns its log density given the pairs before it.
    pub(super) fn observe(&mut self, x: &[f64], y: f64) -> f64 {
        let rank = self.mean.len();
        let x_on: Vec<f64> = self.coordinates.iter().map(|&i| x[i]).collect();
        // Sᵀ x and S Sᵀ x.
        let mut along = vec![0.0; rank];
        for (row, x) in self.root.chunks_exact(rank).zip(&x_on) {
            along.iter_mut().zip(row).for_each(|(along, root)| *along += root * x);
        }
        let gain: Vec<f64> = self.root.chunks_exact(rank).map(|row| dot(row, &along)).collect();
        let variance = self.noise_variance + dot(&along, &along);
        let residual = y - dot(&self.mean, &x_on);
        for (mean, gain) in self.mean.iter_mut().zip(&gain) {
            *mean += gain * residual / variance;
        }
        let share = 1.0 / (variance * (1.0 + (self.noise_variance / variance).sqrt()));
        for (row, gain) in self.root.chunks_exact_mut(rank).zip(&gain) {
            row.iter_mut().zip(&along).for_each(|(root, along)| *root -= share * gain * along);
        }
        log_normal(residual, variance)
    }
}

fn predict_online(mut regression: Regression, pairs: impl Iterator<Item = (Vec<f64>, f64)>) -> Vec<f64> {
    let step = |(x, y): (Vec<f64>, f64)| {
        let prediction = regression.mean(&x);
        regression.observe(&x, y);
        prediction
    };
    pairs.map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConceptId, Purpose, SparseRegressionConfig, Stream, Task};

    /// Rounding of a 16-dimensional f64 solve whose ridge is 0.04; both sides are exact otherwise.
    const SOLVE_TOLERANCE: f64 = 1e-9;

    /// Share by which a mean over 2,000 prompts may order two errors wrongly that are nearly equal: where the pairs are
    /// few, the strength hardly matters.
    const MONTE_CARLO: f64 = 0.01;

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

    /// Of what is not linear: the covariance itself is off by 9e-3 here.
    #[test]
    fn without_noise_the_update_still_equals_the_fit() {
        let config = SparseRegressionConfig { n_points: 40, ..SparseRegressionConfig::paper() };
        let prompt = config.build().unwrap().sample(ConceptId(1), &mut Stream::new(0, Purpose::Eval).rng(0));
        let pairs: Vec<_> = prompt.pairs().map(|(x, _)| (x.clone(), x[0] * x[0] - x[1].abs())).collect();
        let all = Basis::from_sorted((0..16).collect());
        let found = predict_online(Regression::prior(&all, 0.25, 0.0), pairs.iter().cloned());
        for (i, (x, _)) in pairs.iter().enumerate().skip(20) {
            let expected = refitted(&pairs[..i], all.coordinates(), 0.0, x);
            assert!((found[i] - expected).abs() < 1e-7, "{i}: {} {expected}", found[i]);
        }
    }

    #[test]
    fn no_other_strength_of_ridge_does_better_at_any_length() {
        let task = SparseRegressionConfig::paper().build().unwrap();
        let prompts: Vec<_> = (0..2000)
            .map(|i| task.sample(ConceptId(i as usize % 4), &mut Stream::new(2, Purpose::Eval).rng(i)))
            .collect();
        let all = Basis::from_sorted((0..16).collect());
        let errors = |factor: f64| {
            let ridge = Ridge { prior: Regression::prior(&all, 0.25 / factor, 0.01) };
            let mut sums = vec![0.0; 20];
            for prompt in &prompts {
                let predictions = ridge.predict(prompt);
                let pairs = predictions.iter().zip(&prompt.ys).zip(&mut sums);
                pairs.for_each(|((p, &y), sum)| *sum += (p - f64::from(y)).powi(2));
            }
            sums
        };
        let tuned = errors(1.0);
        for other in [errors(0.2), errors(5.0)] {
            for (n, (tuned, other)) in tuned.iter().zip(&other).enumerate() {
                assert!(*tuned < (1.0 + MONTE_CARLO) * other, "{n} pairs: {tuned} and {other}");
            }
            assert!(tuned[18] < (1.0 - MONTE_CARLO) * other[18], "{} and {}", tuned[18], other[18]);
        }
    }
}
