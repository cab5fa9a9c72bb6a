//! A quadratic readout.

use crate::ProbeKind;
use nalgebra::{Cholesky, DMatrix, DVectorView, RowDVector};

use super::folds::{Fold, Standardised};
use super::{Guess, Probe, States, n_labels};

/// Quadratic discriminant analysis from the other folds: a Gaussian is fitted to the standardised states of every
/// label, and the one under which the state is likeliest wins, all labels being as likely beforehand.
/// Log densities tie when they differ by less than 1e-12 of the larger.
///
/// A covariance is (1 − shrinkage)·S + shrinkage·I, with S the mean square around the mean. The log density is quadratic in the
/// state: beside means the probe reads variances and correlations. Which coordinates of the regression weights are on is
/// in those alone, for the weights have mean zero under every basis. With more features than states the same densities come
/// from inner products, by Woodbury's identity and the matrix determinant lemma.
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

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<Guess>> {
        let mut guesses = vec![vec![Guess::NONE; states.rows().nrows()]; labellings.len()];
        for Fold { train, test, standardised } in states.folds(self.folds).iter() {
            for (labels, guesses) in labellings.iter().zip(&mut guesses) {
                let densities: Vec<Vec<f64>> = (0..n_labels(labels))
                    .map(|label| {
                        let members: Vec<usize> = (0..train.len()).filter(|&row| labels[train[row]] == label).collect();
                        self.log_densities(standardised, &members)
                    })
                    .collect();
                for (row, &i) in test.iter().enumerate() {
                    let scores: Vec<f64> = densities.iter().map(|densities| densities[row]).collect();
                    let largest = scores
                        .iter()
                        .filter(|score| score.is_finite())
                        .fold(1.0, |most: f64, score| most.max(score.abs()));
                    guesses[i] = Guess::among(&scores, labels[i], largest);
                }
            }
        }
        guesses
    }
}

impl Quadratic {
    /// Log density of every state to guess under the Gaussian of `members`, of those to fit to, up to what is the same for
    /// all labels. A label of no states, or of states that are not finite, has no Gaussian and is not guessed.
    fn log_densities(&self, states: &Standardised, members: &[usize]) -> Vec<f64> {
        match states {
            Standardised::Features { fitted, guessed } => self.of_features(&fitted.select_rows(members), guessed),
            Standardised::Products { fitted, between, squares, d_model } => {
                let fitted = fitted.select_rows(members).select_columns(members);
                self.of_products(fitted, between.select_columns(members).transpose(), squares.transpose(), *d_model)
            }
        }
    }

    fn of_features(&self, members: &DMatrix<f64>, guessed: &DMatrix<f64>) -> Vec<f64> {
        let (n, d) = members.shape();
        let none = vec![f64::NEG_INFINITY; guessed.nrows()];
        if n == 0 {
            return none;
        }
        let mean = members.row_mean().transpose();
        let centred = |rows: &DMatrix<f64>| {
            let mut columns = rows.transpose();
            columns.column_iter_mut().for_each(|mut state| state -= &mean);
            columns
        };
        let [members, states] = [members, guessed].map(centred);
        let [weight, floor] = [(1.0 - self.shrinkage) / n as f64, self.shrinkage];
        // Of the members' products with each other and those of their features the smaller says both: Woodbury's identity.
        let few = n < d;
        let transposed = members.transpose();
        let (mut products, inputs) = match few {
            true => (&transposed * &members, &(&transposed * &states)),
            false => (&members * &transposed, &states),
        };
        products *= weight;
        (0..products.nrows()).for_each(|i| products[(i, i)] += floor);
        let Some(factor) = Cholesky::new(products) else {
            return none;
        };
        let factor = factor.l_dirty();
        let seen = factor.solve_lower_triangular(inputs).expect("the diagonal of a factor is positive");
        let log_determinant = 2.0 * factor.diagonal().iter().map(|entry| entry.ln()).sum::<f64>()
            + d.saturating_sub(n) as f64 * floor.ln();
        let distance = |(state, seen): (DVectorView<'_, f64>, DVectorView<'_, f64>)| match few {
            true => (state.norm_squared() - weight * seen.norm_squared()) / floor,
            false => seen.norm_squared(),
        };
        let distances = states.column_iter().zip(seen.column_iter()).map(distance);
        distances.map(|distance| -0.5 * (distance + log_determinant)).collect()
    }

    /// From the inner products of the members, of the members with the states to guess, `[members, test]`, and of these
    /// with themselves.
    fn of_products(
        &self,
        mut members: DMatrix<f64>,
        mut between: DMatrix<f64>,
        mut squares: RowDVector<f64>,
        d_model: usize,
    ) -> Vec<f64> {
        let (n, none) = (members.nrows(), vec![f64::NEG_INFINITY; squares.len()]);
        if n == 0 {
            return none;
        }
        // Around the members' mean m: (x − m)·(y − m) = x·y − x·m − m·y + m·m.
        let [members_mean, states_mean] = [members.row_mean(), between.row_mean()];
        let mean_square = members_mean.mean();
        squares += (-2.0 * &states_mean).add_scalar(mean_square);
        let of_rows = members_mean.transpose();
        for (products, of_columns) in [(&mut members, &members_mean), (&mut between, &states_mean)] {
            for (mut column, mean) in products.column_iter_mut().zip(of_columns.iter()) {
                column -= &of_rows;
                column.add_scalar_mut(mean_square - mean);
            }
        }
        // Woodbury's identity and the determinant lemma, with the floor taken out: what is left is I where all are alike.
        let [weight, floor] = [(1.0 - self.shrinkage) / (n as f64 * self.shrinkage), self.shrinkage];
        members *= weight;
        (0..n).for_each(|i| members[(i, i)] += 1.0);
        let Some(factor) = Cholesky::new(members) else {
            return none;
        };
        let factor = factor.l_dirty();
        let seen = factor.solve_lower_triangular(&between).expect("the diagonal of a factor is positive");
        let log_determinant =
            2.0 * factor.diagonal().iter().map(|entry| entry.ln()).sum::<f64>() + d_model as f64 * floor.ln();
        let distance = |(square, seen): (&f64, DVectorView<'_, f64>)| (square - weight * seen.norm_squared()) / floor;
        let distances = squares.iter().zip(seen.column_iter()).map(distance);
        distances.map(|distance| -0.5 * (distance + log_determinant)).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::probes::guessed;

    const QUADRATIC: Quadratic = Quadratic { folds: 5, shrinkage: 0.1 };

    #[test]
    fn reads_a_difference_of_variances_between_equal_means() {
        // Label 0 lies at ±1, label 1 at ±10.
        let labels: Vec<usize> = (0..40).map(|i| i / 20).collect();
        let states = DMatrix::from_fn(40, 1, |i, _| [1.0, 10.0][labels[i]] * if i % 2 == 0 { 1.0 } else { -1.0 });
        assert_eq!(guessed(&QUADRATIC, &States::new(states), &labels), labels);
    }

    /// Fewer members than features, as many, and more: the same formula, once written out with an inverse.
    #[test]
    fn log_densities_are_those_of_the_shrunken_covariance() {
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        let test = [9, 10, 11, 12];
        for n in [1, 3, 5, 9] {
            let rows = DMatrix::from_fn(13, 5, |_, _| rng.random::<f64>() - 0.5);
            let (train, members) = (Vec::from_iter(0..9), Vec::from_iter(0..n));
            let [features, products] =
                [Standardised::features, Standardised::products].map(|states| states(&rows, &train, &test));
            let Standardised::Features { fitted, guessed } = &features else { unreachable!() };
            let fitted = fitted.select_rows(&members);
            let mean = fitted.row_mean();
            let centred = DMatrix::from_fn(n, 5, |i, j| fitted[(i, j)] - mean[j]);
            let covariance = centred.transpose() * centred * (0.9 / n as f64) + DMatrix::identity(5, 5) * 0.1;
            let inverse = covariance.clone().try_inverse().unwrap();
            for (i, state) in guessed.row_iter().enumerate() {
                let apart = state - &mean;
                let distance = (&apart * &inverse * apart.transpose())[0];
                let expected = -0.5 * (distance + covariance.determinant().ln());
                for states in [&features, &products] {
                    let found = QUADRATIC.log_densities(states, &members)[i];
                    assert!(
                        (found - expected).abs() < 1e-12 * expected.abs().max(1.0),
                        "{n} members: {found}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn inner_products_give_what_features_give() {
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        for d in [1, 15, 16, 17, 19, 20, 21, 300] {
            let rows = DMatrix::from_fn(20, d, |_, _| rng.random::<f64>() - 0.5);
            let (test, train): (Vec<usize>, Vec<usize>) = (0..20).partition(|i| i % 5 == 0);
            for members in [vec![], vec![3], vec![0, 2, 5, 7, 8, 15], Vec::from_iter(0..16)] {
                let [features, products] = [Standardised::features, Standardised::products]
                    .map(|states| QUADRATIC.log_densities(&states(&rows, &train, &test), &members));
                for (a, b) in features.iter().zip(&products) {
                    assert!(a == b || (a - b).abs() < 1e-12 * a.abs().max(1.0), "{d} features: {a}, {b}");
                }
            }
        }
    }
}
