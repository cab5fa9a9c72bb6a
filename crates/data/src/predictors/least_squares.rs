//! Least squares, refitted at every prompt length.

use nalgebra::{DMatrix, DVector};

use super::Predictor;
use crate::Prompt;

/// Least squares over all coordinates; of the many exact fits to fewer than D pairs, the one of smallest norm.
///
/// It is the limit of [`Ridge`](super::Ridge) for no noise. Near D pairs it is worse than predicting zero, since the
/// noise is divided by singular values that can be arbitrarily small.
///
/// # Source
/// Garg et al., arXiv 2208.01066, compare with it.
#[derive(Clone, Copy, Debug)]
pub struct LeastSquares;

impl Predictor for LeastSquares {
    fn name(&self) -> &str {
        "least_squares"
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        let (xs, ys): (Vec<DVector<f64>>, Vec<f64>) = prompt.pairs().map(|(x, y)| (DVector::from_vec(x), y)).unzip();
        let at = |n: usize| if n == 0 { 0.0 } else { smallest_fit(&xs[..n], &ys[..n]).dot(&xs[n]) };
        (0..xs.len()).map(at).collect()
    }
}

/// X⁺ y, by singular values; those that rounding makes of zero count as zero.
fn smallest_fit(xs: &[DVector<f64>], ys: &[f64]) -> DVector<f64> {
    // With one column a pair this is Xᵀ = U Σ Vᵀ, hence X⁺ = U Σ⁺ Vᵀ.
    let svd = DMatrix::from_columns(xs).svd(true, true);
    let rounding = f64::EPSILON * xs.len().max(xs[0].len()) as f64 * svd.singular_values.max();
    let (u, v_t) = (svd.u.expect("asked for"), svd.v_t.expect("asked for"));
    let scaled = (v_t * DVector::from_column_slice(ys))
        .zip_map(&svd.singular_values, |value, s| if s > rounding { value / s } else { 0.0 });
    u * scaled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConceptId, Purpose, SparseRegressionConfig, Stream, Task};

    /// Normal equations square the condition number of a square Gaussian matrix, which is a few thousand at worst here.
    const FIT_TOLERANCE: f64 = 1e-6;

    /// (XᵀX)⁻¹ Xᵀ y with enough pairs, Xᵀ (X Xᵀ)⁻¹ y with fewer, by Cholesky's method.
    fn by_normal_equations(x: &DMatrix<f64>, y: &DVector<f64>) -> DVector<f64> {
        let (n, d) = x.shape();
        if n < d {
            return x.transpose() * (x * x.transpose()).cholesky().unwrap().solve(y);
        }
        (x.transpose() * x).cholesky().unwrap().solve(&(x.transpose() * y))
    }

    #[test]
    fn it_solves_the_normal_equations_at_every_length() {
        let task = SparseRegressionConfig::paper().build().unwrap();
        for index in 0..20 {
            let prompt = task.sample(ConceptId(2), &mut Stream::new(0, Purpose::Eval).rng(index));
            let pairs: Vec<_> = prompt.pairs().collect();
            let predictions = LeastSquares.predict(&prompt);
            assert_eq!(predictions[0], 0.0);
            for n in 1..pairs.len() {
                let x = DMatrix::from_fn(n, 16, |i, j| pairs[i].0[j]);
                let y = DVector::from_fn(n, |i, _| pairs[i].1);
                let expected = by_normal_equations(&x, &y).dot(&DVector::from_vec(pairs[n].0.clone()));
                let error = (predictions[n] - expected).abs() / expected.abs().max(1.0);
                assert!(error < FIT_TOLERANCE, "prompt {index}, {n} pairs: {error}");
            }
        }
    }

    #[test]
    fn repeated_pairs_leave_it_defined() {
        let prompt = Prompt { concept: ConceptId(0), xs: [1.0, 2.0].repeat(4), ys: vec![5.0; 4] };
        for prediction in &LeastSquares.predict(&prompt)[1..] {
            assert!((prediction - 5.0).abs() < FIT_TOLERANCE, "{prediction}");
        }
    }
}
