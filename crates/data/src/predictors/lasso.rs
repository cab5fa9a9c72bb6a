//! The lasso, refitted at every prompt length.

use super::{Predictor, dot};
use crate::Prompt;

/// A sweep that changes no entry of Xᵀ(y − X w) by more than this share of the penalty ends the descent.
const CONVERGED: f64 = 1e-8;
/// Sweeps at most for one prompt length. Hundreds are usual; nearly dependent coordinates may need tens of thousands.
const MOST_SWEEPS: usize = 300_000;
/// Least noise that the penalty is made for, in units of E[y²]. With less the answer hardly changes, but sweeps are
/// as many as the penalty is small.
const LEAST_NOISE: f64 = 1e-3;

/// The lasso: from n pairs, the w that minimises
///
/// ‖y − X w‖² / (2 n) + α ‖w‖₁,  α = s² / (n b),  b = √(v / 2),
///
/// where s² is the variance of the noise, at least a thousandth of that of y, and v the mean variance of the entries of
/// the true weights. It is the most probable w if its entries were Laplace distributed with that variance, as
/// [`Ridge`](super::Ridge) is for normal ones; neither has anything to tune.
///
/// The minimum is found by coordinate descent that starts from the weights of one pair less.
///
/// # Source
/// Tibshirani (1996), also for the prior; the descent is that of Friedman, Hastie and Tibshirani (2010). The objective
/// is scikit-learn's `Lasso(fit_intercept=False)`.
#[derive(Clone, Copy, Debug)]
pub struct Lasso {
    /// n α, which is the same at every n.
    penalty: f64,
}

impl Lasso {
    /// For weights whose `d_x` entries have the mean variance `weight_variance`.
    pub(crate) fn new(weight_variance: f64, noise_variance: f64, d_x: usize) -> Self {
        let noise = noise_variance.max(LEAST_NOISE * weight_variance * d_x as f64);
        Self { penalty: noise / (weight_variance / 2.0).sqrt() }
    }
}

impl Predictor for Lasso {
    fn name(&self) -> &str {
        "lasso"
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        let mut fit = Fit::to_nothing(self.penalty, prompt.xs.len() / prompt.ys.len());
        let step = |(x, y): (Vec<f64>, f64)| {
            let prediction = dot(&fit.w, &x);
            fit.observe(&x, y);
            prediction
        };
        prompt.pairs().map(step).collect()
    }
}

/// The minimum for the pairs seen so far.
struct Fit {
    penalty: f64,
    /// XᵀX, `[d_x][d_x]`.
    gram: Vec<Vec<f64>>,
    /// Xᵀy, `[d_x]`.
    moment: Vec<f64>,
    /// `[d_x]`
    w: Vec<f64>,
}

impl Fit {
    fn to_nothing(penalty: f64, d_x: usize) -> Self {
        Self { penalty, gram: vec![vec![0.0; d_x]; d_x], moment: vec![0.0; d_x], w: vec![0.0; d_x] }
    }

    fn observe(&mut self, x: &[f64], y: f64) {
        for (row, x_i) in self.gram.iter_mut().zip(x) {
            row.iter_mut().zip(x).for_each(|(entry, x_j)| *entry += x_i * x_j);
        }
        self.moment.iter_mut().zip(x).for_each(|(entry, x_i)| *entry += x_i * y);
        self.descend();
    }

    /// Minimises over one coordinate after the other, from where `w` is.
    fn descend(&mut self) {
        // Xᵀ(y − X w), kept up to date with every change of w.
        let mut slope: Vec<f64> = self.gram.iter().zip(&self.moment).map(|(row, m)| m - dot(row, &self.w)).collect();
        for _ in 0..MOST_SWEEPS {
            let mut largest: f64 = 0.0;
            for (j, row) in self.gram.iter().enumerate().filter(|(j, row)| row[*j] > 0.0) {
                let alone = slope[j] + row[j] * self.w[j];
                let best = alone.signum() * (alone.abs() - self.penalty).max(0.0) / row[j];
                let change = best - self.w[j];
                if change != 0.0 {
                    self.w[j] = best;
                    slope.iter_mut().zip(row).for_each(|(slope, entry)| *slope -= entry * change);
                    largest = largest.max(row[j] * change.abs());
                }
            }
            if largest <= CONVERGED * self.penalty {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blocks;
    use crate::{Bases, ConceptId, Purpose, SparseRegressionConfig, Stream, Task};

    /// What ends the descent bounds one entry at a time; the later changes of a sweep can add up.
    const STATIONARY: f64 = 1e-6;
    /// Share of the error by which another penalty may be better: the formula is not fitted to the bases.
    const TUNED: f64 = 0.03;

    fn prompts(config: SparseRegressionConfig, n: u64) -> Vec<Prompt> {
        let task = config.build().unwrap();
        let draw = |i: u64| task.sample(ConceptId(i as usize % 4), &mut Stream::new(1, Purpose::Eval).rng(i));
        (0..n).map(draw).collect()
    }

    /// The conditions of Karush, Kuhn and Tucker: every entry of Xᵀ(y − X w) is within the penalty, and is the penalty
    /// with the weight's sign where the weight is not zero. They hold at the minimum and nowhere else.
    #[test]
    fn it_is_at_the_minimum_at_every_length() {
        let lasso = Lasso::new(0.25, 0.01, 16);
        let (mut zeros, mut entries) = (0, 0);
        for prompt in prompts(SparseRegressionConfig::paper(), 20) {
            let pairs: Vec<_> = prompt.pairs().collect();
            let mut fit = Fit::to_nothing(lasso.penalty, 16);
            for n in 1..=pairs.len() {
                fit.observe(&pairs[n - 1].0, pairs[n - 1].1);
                for (j, &w) in fit.w.iter().enumerate() {
                    let slope: f64 = pairs[..n].iter().map(|(x, y)| x[j] * (y - dot(x, &fit.w))).sum();
                    let excess = if w == 0.0 { slope.abs() - fit.penalty } else { slope - fit.penalty * w.signum() };
                    let excess = if w == 0.0 { excess.max(0.0) } else { excess.abs() };
                    assert!(excess < STATIONARY * fit.penalty, "{n} pairs, coordinate {j}: {excess}");
                    zeros += usize::from(w == 0.0);
                    entries += 1;
                }
            }
        }
        assert!(zeros * 4 > entries, "{zeros} of {entries} weights are zero");
    }

    #[test]
    fn one_coordinate_is_soft_thresholded() {
        let mut fit = Fit::to_nothing(1.0, 2);
        // The second coordinate is always off and stays undecided.
        for (x, y, w) in [(2.0, 0.25, 0.0), (1.0, 2.0, 1.5 / 5.0), (1.0, -9.0, -5.5 / 6.0)] {
            fit.observe(&[x, 0.0], y);
            assert!((fit.w[0] - w).abs() < 1e-12 && fit.w[1] == 0.0, "{:?}", fit.w);
        }
    }

    #[test]
    fn no_other_penalty_does_much_better() {
        for noise_variance in [0.03, 0.25] {
            let bases = Bases::Blocks(Blocks { count: 4, rank: 2, shared: None });
            let paper = SparseRegressionConfig::paper();
            let config = SparseRegressionConfig { d_x: 8, n_points: 12, bases, noise_variance, ..paper };
            let prompts = prompts(config, 400);
            let error = |factor: f64| -> f64 {
                let lasso = Lasso { penalty: factor * Lasso::new(0.25, noise_variance, 8).penalty };
                let of = |prompt: &Prompt| -> f64 {
                    lasso.predict(prompt).iter().zip(&prompt.ys).map(|(p, &y)| (p - f64::from(y)).powi(2)).sum()
                };
                prompts.iter().map(of).sum()
            };
            let ours = error(1.0);
            for factor in [0.3, 3.0, 10.0] {
                assert!(ours < (1.0 + TUNED) * error(factor), "noise {noise_variance}, {factor} times the penalty");
            }
        }
    }
}
