//! A linear readout.

use crate::ProbeKind;
use nalgebra::{Cholesky, DMatrix};

use super::folds::{Fold, folds};
use super::{Probe, States, argmax, n_labels};

/// Ridge regression of the one-hot label on the standardised state, from the other folds; the largest output wins.
///
/// W = (ZᵀZ + ridge·I)⁻¹ Zᵀ(Y − ȳ) with Z the standardised states and Y the one-hot labels of the states fitted to;
/// outputs are zW + ȳ. It reads concepts that differ in their mean state along any direction, however small beside the
/// others. The weights of a regression have mean zero under every basis, so which of their coordinates are on is beyond
/// it; see [`Quadratic`](crate::Quadratic).
///
/// # Source
/// scikit-learn's `RidgeClassifier` behind a `StandardScaler`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Parts the states are split into, at least 2.
    pub folds: usize,
    /// Strength of the penalty, above 0.
    pub ridge: f64,
}

impl Probe for Linear {
    fn name(&self) -> &str {
        ProbeKind::Linear.name()
    }

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<usize>> {
        let targets: Vec<DMatrix<f64>> = labellings.iter().map(|labels| one_hot(labels)).collect();
        let mut guesses = vec![vec![0; states.rows().nrows()]; labellings.len()];
        for Fold { train, test, fitted, guessed } in folds(states, self.folds) {
            let transposed = fitted.transpose();
            let mut gram = &transposed * &fitted;
            (0..gram.nrows()).for_each(|i| gram[(i, i)] += self.ridge);
            // States that are not finite have no regression; the more frequent label is guessed then.
            let solver = Cholesky::new(gram);
            for (targets, guesses) in targets.iter().zip(&mut guesses) {
                let mut fit_to = targets.select_rows(&train);
                let means = fit_to.row_mean();
                fit_to.row_iter_mut().for_each(|mut row| row -= &means);
                let weights = solver.as_ref().map(|solver| solver.solve(&(&transposed * fit_to)));
                let outputs = weights.map(|weights| &guessed * weights);
                for (row, &i) in test.iter().enumerate() {
                    let output = |label| outputs.as_ref().map_or(0.0, |outputs| outputs[(row, label)]);
                    guesses[i] = argmax(means.iter().enumerate().map(|(label, mean)| mean + output(label)));
                }
            }
        }
        guesses
    }
}

/// `[n, labels]`
fn one_hot(labels: &[usize]) -> DMatrix<f64> {
    DMatrix::from_fn(labels.len(), n_labels(labels), |i, label| f64::from(u8::from(labels[i] == label)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Linear = Linear { folds: 5, ridge: 1.0 };

    #[test]
    fn reads_a_small_difference_of_means_beside_a_large_spread() {
        // The label is in the second feature alone, a thousand times smaller than the first, and nearest neighbours
        // follow the first.
        let labels: Vec<usize> = (0..40).map(|i| i / 20).collect();
        let states = DMatrix::from_fn(40, 2, |i, j| if j == 0 { (i * 7 % 20) as f64 } else { 1e-3 * labels[i] as f64 });
        assert_eq!(LINEAR.guess(&States::new(states), &[&labels])[0], labels);
    }
}
