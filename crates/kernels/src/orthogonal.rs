//! The direction in which Muon moves a matrix, in ordinary tensor operations.

use burn::tensor::{Tensor, backend::Backend};

/// Coefficients of x, x³ and x⁵: the polynomial brings every singular value between 0 and 1 nearer to 1, small ones fast.
pub(crate) const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// How often it is applied.
pub(crate) const ITERATIONS: usize = 5;
/// The least norm that a matrix is divided by.
pub(crate) const LEAST_NORM: f64 = 1e-7;

/// See [`Kernels::orthogonal`](crate::Kernels::orthogonal).
pub(crate) fn orthogonal<B: Backend>(matrix: Tensor<B, 2>) -> Tensor<B, 2> {
    let [rows, columns] = matrix.dims();
    // The products are taken over the longer side.
    if rows > columns {
        return orthogonal(matrix.transpose()).transpose();
    }
    let [a, b, c] = QUINTIC;
    let norm = (matrix.clone() * matrix.clone()).sum().sqrt().clamp_min(LEAST_NORM);
    let start = matrix / norm.reshape([1, 1]);
    (0..ITERATIONS).fold(start, |x, _| {
        let square = x.clone().matmul(x.clone().transpose());
        let quartic = square.clone().matmul(square.clone());
        x.clone() * a + (square * b + quartic * c).matmul(x)
    })
}
