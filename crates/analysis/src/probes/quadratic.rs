//! A quadratic readout.

use nalgebra::{Cholesky, DMatrix, RowDVector};
use run::ProbeKind;

use super::folds::{Fold, folds};
use super::{Probe, States, argmax, n_labels};

/// Quadratic discriminant analysis from the other folds: a Gaussian is fitted to the standardised states of every
/// label, and the one under which the state is likeliest wins, all labels being as likely beforehand.
///
/// A covariance is (1 − shrinkage)·S + shrinkage·I, with S the mean square around the mean. The log density is quadratic in the
/// state: beside means the probe reads variances and correlations. Which coordinates of the regression weights are on is
/// in those alone, for the weights have mean zero under every basis.
///
/// # Source
/// scikit-learn's `QuadraticDiscriminantAnalysis` with `reg_param` behind a `StandardScaler`; Friedman, *Regularized
/// Discriminant Analysis* (1989).
#[derive(Clone, Copy, Debug)]
pub struct Quadratic {
    /// Parts the states are split into, at least 2.
    pub folds: usize,
    /// Share of the identity in every covariance, above 0 and at most 1.
    pub shrinkage: f64,
}

impl Probe for Quadratic {
    fn name(&self) -> &str {
        ProbeKind::Quadratic.name()
    }

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<usize>> {
        let mut guesses = vec![vec![0; states.rows().nrows()]; labellings.len()];
        for Fold { train, test, fitted, guessed } in folds(states, self.folds) {
            for (labels, guesses) in labellings.iter().zip(&mut guesses) {
                let densities: Vec<Vec<f64>> = (0..n_labels(labels))
                    .map(|label| {
                        let members: Vec<usize> = (0..train.len()).filter(|&row| labels[train[row]] == label).collect();
                        self.log_densities(&fitted.select_rows(&members), &guessed)
                    })
                    .collect();
                for (row, &i) in test.iter().enumerate() {
                    guesses[i] = argmax(densities.iter().map(|densities| densities[row]));
                }
            }
        }
        guesses
    }
}

impl Quadratic {
    /// Log density of every state of `guessed` under the Gaussian of `members`, up to a constant.
    fn log_densities(&self, members: &DMatrix<f64>, guessed: &DMatrix<f64>) -> Vec<f64> {
        // A label of no states, or of states that are not finite, has no Gaussian and is not guessed.
        let gaussian = (members.nrows() > 0).then(|| self.gaussian(members)).flatten();
        let Some((mean, factor)) = gaussian else {
            return vec![f64::NEG_INFINITY; guessed.nrows()];
        };
        let mut apart = guessed.transpose();
        apart.column_iter_mut().for_each(|mut state| state -= mean.transpose());
        let whitened = factor.l_dirty().solve_lower_triangular(&apart).unwrap_or(apart);
        let log_determinant: f64 = 2.0 * factor.l_dirty().diagonal().iter().map(|entry| entry.ln()).sum::<f64>();
        whitened.column_iter().map(|state| -0.5 * (state.norm_squared() + log_determinant)).collect()
    }

    /// Mean and factorised covariance of the rows.
    fn gaussian(&self, members: &DMatrix<f64>) -> Option<(RowDVector<f64>, Cholesky<f64, nalgebra::Dyn>)> {
        let mean = members.row_mean();
        let mut centred = members.clone();
        centred.row_iter_mut().for_each(|mut row| row -= &mean);
        let mut covariance = (centred.transpose() * &centred) * ((1.0 - self.shrinkage) / members.nrows() as f64);
        (0..covariance.nrows()).for_each(|i| covariance[(i, i)] += self.shrinkage);
        Some((mean, Cholesky::new(covariance)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUADRATIC: Quadratic = Quadratic { folds: 5, shrinkage: 0.1 };

    #[test]
    fn reads_a_difference_of_variances_between_equal_means() {
        // Label 0 lies at ±1, label 1 at ±10.
        let labels: Vec<usize> = (0..40).map(|i| i / 20).collect();
        let states = DMatrix::from_fn(40, 1, |i, _| [1.0, 10.0][labels[i]] * if i % 2 == 0 { 1.0 } else { -1.0 });
        assert_eq!(QUADRATIC.guess(&States::new(states), &[&labels])[0], labels);
    }
}
