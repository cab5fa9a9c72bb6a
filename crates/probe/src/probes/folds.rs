//! Fitting to some states and guessing the others.

use nalgebra::{DMatrix, DMatrixView, DVector};

use super::States;
use super::products::{add_products, transposed};

/// One split: states to fit to, and states to guess.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    /// Indices of the states that are fitted to, ascending.
    pub(super) train: Vec<usize>,
    /// Indices of the others.
    pub(super) test: Vec<usize>,
    /// Both, standardised.
    pub(super) standardised: Standardised,
}

/// States whose features have mean 0 and variance 1 over those that are fitted to; means and variances do not see those
/// to guess, which are moved and scaled in the same way.
#[derive(Clone, Debug)]
pub(super) enum Standardised {
    /// The states themselves.
    Features {
        /// Those to fit to, `[train, d_model]`.
        fitted: DMatrix<f64>,
        /// Those to guess, `[test, d_model]`.
        guessed: DMatrix<f64>,
    },
    /// Their inner products.
    Products {
        /// Of those to fit to with each other, `[train, train]`.
        fitted: DMatrix<f64>,
        /// Of those to guess with those to fit to, `[test, train]`.
        between: DMatrix<f64>,
        /// Of those to guess with themselves, `[test]`.
        squares: DVector<f64>,
        /// Features that were multiplied.
        d_model: usize,
    },
}

/// Splits the states into `count` parts and leaves out each in turn; state i is in part i mod `count`, so that prompts
/// that come concept by concept are spread evenly.
pub(super) fn folds(states: &States, count: usize) -> Vec<Fold> {
    let standardised = if states.wide() { Standardised::products } else { Standardised::features };
    let fold = |part| {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..states.rows().nrows()).partition(|i| i % count == part);
        Fold { standardised: standardised(states.rows(), &train, &test), train, test }
    };
    (0..count).map(fold).collect()
}

impl Standardised {
    /// Of the rows `train`, to fit to, and `test`, to guess.
    pub(super) fn features(rows: &DMatrix<f64>, train: &[usize], test: &[usize]) -> Self {
        let [fitted, guessed] = standardised(rows.as_view(), train, test);
        Self::Features { fitted, guessed }
    }

    /// The inner products of what [`features`](Self::features) gives, added up over groups of features that fit a cache.
    pub(super) fn products(rows: &DMatrix<f64>, train: &[usize], test: &[usize]) -> Self {
        const GROUP: usize = 256;
        let d_model = rows.ncols();
        let mut among = DMatrix::zeros(train.len(), train.len());
        let mut between = DMatrix::zeros(test.len(), train.len());
        let mut squares = DVector::zeros(test.len());
        for start in (0..d_model).step_by(GROUP) {
            let group = rows.columns(start, GROUP.min(d_model - start));
            let [fitted, guessed] = standardised(group.as_view(), train, test);
            add_products(&fitted, &mut among);
            between.gemm(1.0, &guessed, &transposed(&fitted), 1.0);
            guessed.column_iter().for_each(|feature| squares += feature.component_mul(&feature));
        }
        among.fill_upper_triangle_with_lower_triangle();
        Self::Products { fitted: among, between, squares, d_model }
    }
}

/// The rows `train` and `test`, every feature of mean 0 and variance 1 over the former.
fn standardised(rows: DMatrixView<'_, f64>, train: &[usize], test: &[usize]) -> [DMatrix<f64>; 2] {
    let [mut fitted, mut guessed] = [train, test].map(|chosen| rows.select_rows(chosen));
    for (mut fit, mut guess) in fitted.column_iter_mut().zip(guessed.column_iter_mut()) {
        let mean = fit.mean();
        fit.add_scalar_mut(-mean);
        guess.add_scalar_mut(-mean);
        let scale = scale(mean, fit.norm_squared() / train.len() as f64, train.len());
        fit /= scale;
        guess /= scale;
    }
    [fitted, guessed]
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
            let before = folds(&States::new(rows.clone()), 3).swap_remove(part);
            before.test.iter().for_each(|&i| rows[(i, 0)] += 1e3);
            let after = folds(&States::new(rows.clone()), 3).swap_remove(part);
            let [Standardised::Features { fitted, .. }, Standardised::Features { fitted: again, .. }] =
                [before.standardised, after.standardised]
            else {
                panic!("there are fewer features than states");
            };
            assert_eq!(fitted, again);
            assert!((fitted.column(0).norm_squared() / before.train.len() as f64 - 1.0).abs() < 1e-12);
            assert!(fitted.column(1).amax() < 1e-12, "a constant feature stays constant");
            before.test.iter().for_each(|&i| rows[(i, 0)] -= 1e3);
            left_out.extend(after.test);
        }
        left_out.sort_unstable();
        assert_eq!(left_out, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn products_are_those_of_the_features() {
        let rows = DMatrix::from_fn(7, 300, |i, j| ((i * i + 3) * (j + 5) % 31) as f64);
        for Fold { train, test, standardised } in folds(&States::new(rows.clone()), 3) {
            let Standardised::Features { fitted, guessed } = Standardised::features(&rows, &train, &test) else {
                unreachable!()
            };
            let Standardised::Products { fitted: among, between, squares, d_model } = standardised else {
                panic!("there are more features than states");
            };
            assert_eq!(d_model, 300);
            assert!((among - &fitted * fitted.transpose()).amax() < 1e-10);
            assert!((between - &guessed * fitted.transpose()).amax() < 1e-10);
            assert!((squares - (&guessed * guessed.transpose()).diagonal()).amax() < 1e-10);
        }
    }
}
