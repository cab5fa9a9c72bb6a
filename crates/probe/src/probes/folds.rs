//! Fitting to some states and guessing the others.

use nalgebra::DMatrix;

use super::States;

/// One split: standardised states to fit to, and standardised states to guess.
pub(super) struct Fold {
    /// Indices of the states that are fitted to, ascending.
    pub(super) train: Vec<usize>,
    /// Indices of the others.
    pub(super) test: Vec<usize>,
    /// `[train, d_model]`, every feature of mean 0 and variance 1.
    pub(super) fitted: DMatrix<f64>,
    /// `[test, d_model]`, moved and scaled as `fitted` was: means and variances do not see them.
    pub(super) guessed: DMatrix<f64>,
}

/// Splits the states into `count` parts and leaves out each in turn; state i is in part i mod `count`, so that prompts
/// that come concept by concept are spread evenly.
pub(super) fn folds(states: &States, count: usize) -> impl Iterator<Item = Fold> + '_ {
    let n = states.rows().nrows();
    (0..count).map(move |part| {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| i % count == part);
        let mut fitted = states.rows().select_rows(&train);
        let mut guessed = states.rows().select_rows(&test);
        for (mut fit, mut guess) in fitted.column_iter_mut().zip(guessed.column_iter_mut()) {
            let mean = fit.mean();
            fit.add_scalar_mut(-mean);
            guess.add_scalar_mut(-mean);
            let scale = scale(mean, fit.norm_squared() / train.len() as f64, train.len());
            fit /= scale;
            guess /= scale;
        }
        Fold { train, test, fitted, guessed }
    })
}

/// The standard deviation, or 1 for a feature that is constant but for rounding.
///
/// # Source
/// The bound is that of scikit-learn's `StandardScaler`.
fn scale(mean: f64, variance: f64, n: usize) -> f64 {
    let rounding = n as f64 * f64::EPSILON;
    if variance <= rounding * variance + (rounding * mean).powi(2) { 1.0 } else { variance.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_left_out_once_and_never_seen_by_the_scale() {
        let mut rows = DMatrix::from_fn(7, 2, |i, j| if j == 0 { i as f64 } else { 0.1 });
        let mut left_out = Vec::new();
        for part in 0..3 {
            let before = folds(&States::new(rows.clone()), 3).nth(part).unwrap();
            before.test.iter().for_each(|&i| rows[(i, 0)] += 1e3);
            let after = folds(&States::new(rows.clone()), 3).nth(part).unwrap();
            assert_eq!(before.fitted, after.fitted);
            assert!((after.fitted.column(0).norm_squared() / after.train.len() as f64 - 1.0).abs() < 1e-12);
            assert!(after.fitted.column(1).amax() < 1e-12, "a constant feature stays constant");
            before.test.iter().for_each(|&i| rows[(i, 0)] -= 1e3);
            left_out.extend(after.test);
        }
        left_out.sort_unstable();
        assert_eq!(left_out, [0, 1, 2, 3, 4, 5, 6]);
    }
}
