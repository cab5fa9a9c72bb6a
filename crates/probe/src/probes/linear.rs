//! A linear readout.

use crate::ProbeKind;
use nalgebra::{Cholesky, DMatrix};

use super::folds::{Fold, Standardised};
use super::{Guess, Probe, States, n_labels};

/// Ridge regression of the one-hot label on the standardised state, from the other folds; the largest output wins. Outputs tie when they
/// differ by less than 1e-12.
///
/// W = (ZᵀZ + ridge·I)⁻¹ Zᵀ(Y − ȳ) with Z the standardised states and Y the one-hot labels of the states fitted to;
/// outputs are zW + ȳ. With more features than states, zW = zZᵀ(ZZᵀ + ridge·I)⁻¹(Y − ȳ), the same from inner products.
///
/// It reads concepts that differ in their mean state along any direction, however small beside the others. The weights of
/// a regression have mean zero under every basis, so which of their coordinates are on is beyond it; see
/// [`Quadratic`](crate::Quadratic).
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

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<Guess>> {
        let targets: Vec<DMatrix<f64>> = labellings.iter().map(|labels| one_hot(labels)).collect();
        let mut guesses = vec![vec![Guess::NONE; states.rows().nrows()]; labellings.len()];
        for Fold { train, test, standardised } in states.folds(self.folds).iter() {
            let mut fit_to: Vec<DMatrix<f64>> = targets.iter().map(|targets| targets.select_rows(train)).collect();
            let means: Vec<_> = fit_to.iter().map(DMatrix::row_mean).collect();
            for (fit_to, means) in fit_to.iter_mut().zip(&means) {
                fit_to.row_iter_mut().for_each(|mut row| row -= means);
            }
            // Without a regression the more frequent label is guessed.
            let outputs = self.outputs(standardised, &fit_to);
            for (labelling, (means, guesses)) in means.iter().zip(&mut guesses).enumerate() {
                for (row, &i) in test.iter().enumerate() {
                    let output = |label| outputs.as_ref().map_or(0.0, |outputs| outputs[labelling][(row, label)]);
                    let scores: Vec<f64> = means.iter().enumerate().map(|(label, mean)| mean + output(label)).collect();
                    guesses[i] = Guess::among(&scores, labellings[labelling][i], 1.0);
                }
            }
        }
        guesses
    }
}

impl Linear {
    /// zW of the states to guess, `[test, labels]`, for each of the targets Y − ȳ, `[train, labels]`. There is no
    /// regression on states that are not finite.
    fn outputs(&self, states: &Standardised, targets: &[DMatrix<f64>]) -> Option<Vec<DMatrix<f64>>> {
        let solver = |mut products: DMatrix<f64>| {
            (0..products.nrows()).for_each(|i| products[(i, i)] += self.ridge);
            Cholesky::new(products)
        };
        Some(match states {
            Standardised::Features { fitted, guessed } => {
                let transposed = fitted.transpose();
                let solver = solver(&transposed * fitted)?;
                targets.iter().map(|targets| guessed * solver.solve(&(&transposed * targets))).collect()
            }
            Standardised::Products { fitted, between, .. } => {
                let solver = solver(fitted.clone())?;
                targets.iter().map(|targets| between * solver.solve(targets)).collect()
            }
        })
    }
}

/// `[n, labels]`
fn one_hot(labels: &[usize]) -> DMatrix<f64> {
    DMatrix::from_fn(labels.len(), n_labels(labels), |i, label| f64::from(u8::from(labels[i] == label)))
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::probes::guessed;

    const LINEAR: Linear = Linear { folds: 5, ridge: 1.0 };

    #[test]
    fn reads_a_small_difference_of_means_beside_a_large_spread() {
        // The label is in the second feature alone, a thousand times smaller than the first, and nearest neighbours
        // follow the first.
        let labels: Vec<usize> = (0..40).map(|i| i / 20).collect();
        let states = DMatrix::from_fn(40, 2, |i, j| if j == 0 { (i * 7 % 20) as f64 } else { 1e-3 * labels[i] as f64 });
        assert_eq!(guessed(&LINEAR, &States::new(states), &labels), labels);
    }

    #[test]
    fn inner_products_give_what_features_give() {
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        for d in [1, 15, 16, 17, 19, 20, 21, 300] {
            let rows = DMatrix::from_fn(20, d, |_, _| rng.random::<f64>() - 0.5);
            let (test, train): (Vec<usize>, Vec<usize>) = (0..20).partition(|i| i % 5 == 0);
            let targets = [one_hot(&Vec::from_iter(train.iter().map(|i| i % 3)))];
            let [features, products] = [Standardised::features, Standardised::products]
                .map(|states| LINEAR.outputs(&states(&rows, &train, &test), &targets).unwrap().swap_remove(0));
            assert!((features - products).amax() < 1e-12, "{d} features");
        }
    }
}
