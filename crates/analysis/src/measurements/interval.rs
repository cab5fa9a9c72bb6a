//! How sure a mean is: over prompts, and over resamples of them.

use data::{Purpose, Stream};
use rand::RngExt;
use statrs::distribution::{ContinuousCDF, Normal};

/// Resamples that an interval is read from.
const RESAMPLES: u64 = 1000;

/// A mean and its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end of the interval.
    pub lo: f64,
    /// Upper end of the interval.
    pub hi: f64,
}

impl Estimate {
    /// The share of `n` prompts that are right, with Wilson's score interval. Beside 0 and 1 it has a length, where the
    /// bootstrap's has none.
    ///
    /// With p = right / n and z = 1.96 it is (p + z²/2n ± z √(p (1 − p) / n + z²/4n²)) / (1 + z²/n).
    ///
    /// # Source
    /// Wilson (1927), *Probable inference, the law of succession, and statistical inference*.
    pub fn of_share(right: usize, n: usize) -> Self {
        let z = Normal::new(0.0, 1.0).expect("the standard normal distribution").inverse_cdf(0.975);
        let (mean, n) = (right as f64 / n as f64, n as f64);
        let middle = mean + z * z / (2.0 * n);
        let half = z * (mean * (1.0 - mean) / n + z * z / (4.0 * n * n)).sqrt();
        let end = |value: f64| (value / (1.0 + z * z / n)).clamp(0.0, 1.0);
        Self { mean, lo: end(middle - half), hi: end(middle + half) }
    }
}

/// Sets of prompts, each drawn with replacement from as many: they tell how a mean over prompts depends on which prompts
/// were drawn. Every mean is taken over the same sets.
///
/// # Source
/// The percentile bootstrap: Efron (1979), *Bootstrap Methods: Another Look at the Jackknife*.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Indices of prompts, `[RESAMPLES][n]`.
    sets: Vec<Vec<u32>>,
}

impl Bootstrap {
    /// Of `n` prompts.
    pub fn new(seed: u64, n: usize) -> Self {
        let stream = Stream::new(seed, Purpose::Bootstrap);
        let set = |resample| {
            let mut rng = stream.rng(resample);
            (0..n).map(|_| rng.random_range(0..n as u32)).collect()
        };
        Self { sets: (0..RESAMPLES).map(set).collect() }
    }

    /// The mean of one value a prompt.
    pub fn mean(&self, values: &[f64]) -> Estimate {
        self.weighted_mean(&[(1.0, values)])
    }

    /// The weighted sum of the means of several groups of prompts, each resampled by itself.
    pub fn weighted_mean(&self, groups: &[(f64, &[f64])]) -> Estimate {
        let (mut mean, mut resampled) = (0.0, vec![0.0; self.sets.len()]);
        for (group, (weight, values)) in groups.iter().enumerate() {
            let share = weight / values.len() as f64;
            mean += share * values.iter().sum::<f64>();
            for (resample, total) in resampled.iter_mut().enumerate() {
                // Groups that shared a set would be resampled together.
                let set = &self.sets[(resample + group) % self.sets.len()];
                *total += share * set.iter().map(|&index| values[index as usize]).sum::<f64>();
            }
        }
        resampled.sort_by(f64::total_cmp);
        Estimate { mean, lo: quantile(&resampled, 0.025), hi: quantile(&resampled, 0.975) }
    }

    /// The 95% interval of a statistic of the items drawn, given by their numbers; sets of which it has no value are left
    /// out. None where it has no value of any.
    pub(crate) fn interval(&self, statistic: impl Fn(&[u32]) -> Option<f64>) -> Option<[f64; 2]> {
        let mut values: Vec<f64> = self.sets.iter().filter_map(|set| statistic(set)).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| [0.025, 0.975].map(|q| quantile(&values, q)))
    }
}

/// Accuracies over resamples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverResamples {
    /// Mean accuracy.
    pub score: f64,
    /// 2.5% quantile of the resamples, linearly interpolated.
    pub lo: f64,
    /// 97.5% quantile of the resamples, linearly interpolated.
    pub hi: f64,
    /// Resamples.
    pub n: usize,
}

impl OverResamples {
    /// Mean and 95% interval of accuracies (or of another number), one a resample.
    ///
    /// # Panics
    /// When there is none.
    pub fn of(accuracies: &[f64]) -> Self {
        let mut sorted = accuracies.to_vec();
        sorted.sort_by(f64::total_cmp);
        let score = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
        Self { score, lo: quantile(&sorted, 0.025), hi: quantile(&sorted, 0.975), n: sorted.len() }
    }
}

/// The value below which a share `q` of ascending values lies, linearly interpolated.
fn quantile(ascending: &[f64], q: f64) -> f64 {
    let at = q * (ascending.len() - 1) as f64;
    let (below, above) = (ascending[at.floor() as usize], ascending[at.ceil() as usize]);
    // Between two infinite values there is no difference.
    if below == above { below } else { below + (above - below) * at.fract() }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn interval_is_the_quantiles_of_the_resamples() {
        let accuracies: Vec<f64> = (0..=40).map(|i| f64::from(i) / 40.0).collect();
        let found = OverResamples::of(&accuracies);
        assert!((found.score - 0.5).abs() < 1e-12);
        assert!((found.lo - 0.025).abs() < 1e-12 && (found.hi - 0.975).abs() < 1e-12);
        let infinite = OverResamples::of(&[f64::INFINITY; 2]);
        assert_eq!([infinite.score, infinite.lo, infinite.hi], [f64::INFINITY; 3]);
    }

    /// Three standard errors of the 2.5% quantile of 1,000 normal draws, 0.085 of their spread, over 1.96 of it.
    const QUANTILE_TOLERANCE: f64 = 3.0 * 0.085 / 1.96;

    /// Normal draws scaled to have exactly this mean and spread.
    fn normal(index: u64, n: usize, mean: f64, spread: f64) -> Vec<f64> {
        let mut rng = Stream::new(1, Purpose::Eval).rng(index);
        let draws: Vec<f64> = (0..n).map(|_| StandardNormal.sample(&mut rng)).collect();
        let centre = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|draw| (draw - centre).powi(2)).sum::<f64>() / n as f64;
        draws.iter().map(|draw| mean + spread * (draw - centre) / variance.sqrt()).collect()
    }

    fn assert_interval(found: Estimate, mean: f64, half: f64) {
        assert!((found.mean - mean).abs() < 1e-12, "{found:?}");
        for side in [mean - found.lo, found.hi - mean] {
            assert!((side / half - 1.0).abs() < QUANTILE_TOLERANCE, "{found:?}, expected ± {half}");
        }
    }

    #[test]
    fn the_interval_of_a_mean_is_two_standard_errors_wide() {
        let found = Bootstrap::new(0, 400).mean(&normal(0, 400, 5.0, 2.0));
        assert_interval(found, 5.0, 1.96 * 2.0 / 20.0);
    }

    #[test]
    fn the_variances_of_groups_add_up() {
        let (first, second) = (normal(0, 400, 1.0, 3.0), normal(1, 400, 2.0, 4.0));
        let found = Bootstrap::new(0, 400).weighted_mean(&[(0.5, &first), (0.5, &second)]);
        assert_interval(found, 1.5, 1.96 * 0.5 * 5.0 / 20.0);
    }

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        // The formula in Python; 8 of 10 is the example of many textbooks.
        for (right, n, lo, hi) in [(8, 10, 0.490162, 0.943318), (0, 20, 0.0, 0.161125), (20, 20, 0.838875, 1.0)] {
            let found = Estimate::of_share(right, n);
            assert_eq!(found.mean, right as f64 / n as f64);
            assert!((found.lo - lo).abs() < 1e-6 && (found.hi - hi).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn values_that_are_all_the_same_have_no_interval() {
        assert_eq!(Bootstrap::new(0, 7).mean(&[0.25; 7]), Estimate { mean: 0.25, lo: 0.25, hi: 0.25 });
    }
}
