//! Means and correlations in which a run is one observation.
//!
//! Concepts and checkpoints of the same run depend on each other, and two seeds do not. So every interval here is over
//! runs, whose number is small: Student's t for means, Fisher's z for correlations.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// A number measured on some runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverRuns {
    /// The mean, or what was measured on all runs together.
    pub value: f64,
    /// Its 95% interval, where there are enough runs for one.
    pub interval: Option<[f64; 2]>,
}

impl OverRuns {
    /// The mean of one value a run, with Student's t interval from two runs on; none without a run.
    pub fn mean(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let value = (n > 0.0).then(|| values.iter().sum::<f64>() / n)?;
        let spread = (values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let interval = StudentsT::new(0.0, 1.0, n - 1.0).ok().map(|student| {
            let half = student.inverse_cdf(0.975) * spread / n.sqrt();
            [value - half, value + half]
        });
        Some(Self { value, interval })
    }

    /// The mean of one correlation a run, between −1 and 1: their Fisher z's are averaged, which near ±1 are spread far
    /// more evenly.
    ///
    /// # Source
    /// Fisher (1921), *On the "probable error" of a coefficient of correlation*.
    pub fn mean_correlation(values: &[f64]) -> Option<Self> {
        let z: Vec<f64> = values.iter().map(|r| r.atanh()).collect();
        let Self { value, interval } = Self::mean(&z)?;
        Some(Self { value: value.tanh(), interval: interval.map(|ends| ends.map(f64::tanh)) })
    }

    /// A correlation over the points of `runs` runs; the interval is Fisher's, as if every run had given one point.
    pub fn pooled_correlation(r: f64, runs: usize) -> Self {
        let normal = Normal::new(0.0, 1.0).expect("the standard normal distribution");
        let half = normal.inverse_cdf(0.975) / (runs as f64 - 3.0).sqrt();
        let interval = (runs > 3 && r.abs() < 1.0).then(|| [r.atanh() - half, r.atanh() + half].map(f64::tanh));
        Self { value: r, interval }
    }
}

/// Pearson's correlation; none when either side does not vary, or of fewer than three points: any two have ±1.
pub fn pearson(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 {
        return None;
    }
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, y)| of(x - mean_x, y - mean_y)).sum::<f64>();
    let r = sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Spearman's correlation: Pearson's of the ranks; equal values share the mean of their ranks.
pub fn spearman(points: &[(f64, f64)]) -> Option<f64> {
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    pearson(&ranks(&xs).into_iter().zip(ranks(&ys)).collect::<Vec<_>>())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&index| ranks[index] = rank);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constants have six digits.
    const DIGITS: f64 = 1e-5;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < DIGITS, "{found}, not {expected}");
    }

    #[test]
    fn intervals_are_scipys() {
        // scipy.stats.t.interval(0.95, 4, loc=mean(x), scale=sem(x)) and the same of arctanh(r).
        let found = OverRuns::mean(&[3.0, 1.0, 4.0, 1.0, 5.0]).unwrap();
        let [lo, hi] = found.interval.unwrap();
        assert_close(found.value, 2.8);
        assert_close(hi - found.value, 2.776445 * 1.788854 / 5_f64.sqrt());
        assert_close(found.value - lo, hi - found.value);
        let [lo, hi] = OverRuns::pooled_correlation(0.5, 28).interval.unwrap();
        assert_close(lo, (0.5_f64.atanh() - 1.959964 / 5.0).tanh());
        assert_close(hi, (0.5_f64.atanh() + 1.959964 / 5.0).tanh());
    }

    #[test]
    fn few_runs_have_no_interval() {
        assert_eq!(OverRuns::mean(&[]), None);
        assert_eq!(OverRuns::mean(&[2.0]), Some(OverRuns { value: 2.0, interval: None }));
        assert_eq!(OverRuns::pooled_correlation(0.5, 3).interval, None);
        assert_eq!(OverRuns::pooled_correlation(1.0, 9).interval, None);
    }

    #[test]
    fn correlations_of_known_points() {
        // scipy.stats.pearsonr and spearmanr.
        let points = [(1.0, 2.0), (2.0, 1.0), (3.0, 4.0), (4.0, 3.0), (5.0, 5.0)];
        assert_close(pearson(&points).unwrap(), 0.8);
        assert_close(spearman(&[(1.0, 1.0), (2.0, 8.0), (2.0, 27.0), (9.0, 64.0)]).unwrap(), 0.948683);
        assert_eq!(ranks(&[2.0, 1.0, 2.0, 5.0]), [1.5, 0.0, 1.5, 3.0]);
        assert_eq!(pearson(&[(1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]), None);
        assert_eq!(pearson(&[(1.0, 2.0), (2.0, 3.0)]), None);
        assert_eq!(pearson(&[]), None);
    }

    #[test]
    fn any_rising_curve_has_spearman_one() {
        let points: Vec<(f64, f64)> = (0..20).map(|i| (f64::from(i), f64::from(i).exp())).collect();
        assert_close(spearman(&points).unwrap(), 1.0);
        assert!(pearson(&points).unwrap() < 0.8);
    }
}
