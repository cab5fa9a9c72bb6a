//! The directions in which Muon moves matrices, in ordinary tensor operations.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::{Kernels, product};

/// Coefficients of x, x³ and x⁵: the polynomial brings every singular value between 0 and 1 nearer to 1, small ones fast.
pub(crate) const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// How often it is applied.
pub(crate) const ITERATIONS: usize = 5;
/// The least norm that a matrix is divided by.
pub(crate) const LEAST_NORM: f64 = 1e-7;

/// See [`Kernels::orthogonal`](crate::Kernels::orthogonal). Matrices of one shape go together, for a GPU waits for every
/// operation to be sent to it.
pub(crate) fn orthogonal<B: Kernels>(matrices: Vec<Tensor<B, 2>>) -> Vec<Tensor<B, 2>> {
    let mut by_shape = BTreeMap::<_, Vec<_>>::new();
    for (place, matrix) in matrices.into_iter().enumerate() {
        let [rows, columns] = matrix.dims();
        // The products are taken over the longer side.
        let is_tall = rows > columns;
        let wide = if is_tall { matrix.transpose() } else { matrix };
        by_shape.entry(wide.dims()).or_default().push((place, is_tall, wide));
    }
    let mut found = Vec::new();
    for group in by_shape.into_values() {
        let together = iterate(Tensor::stack(group.iter().map(|(.., wide)| wide.clone()).collect(), 0));
        for ((place, is_tall, _), wide) in group.into_iter().zip(together.iter_dim(0)) {
            let wide = wide.squeeze_dim(0);
            found.push((place, if is_tall { wide.transpose() } else { wide }));
        }
    }
    found.sort_by_key(|&(place, _)| place);
    found.into_iter().map(|(_, matrix)| matrix).collect()
}

fn iterate<B: Kernels>(wide: Tensor<B, 3>) -> Tensor<B, 3> {
    let [a, b, c] = QUINTIC;
    let squares = (wide.clone() * wide.clone()).sum_dim(2).sum_dim(1);
    (0..ITERATIONS).fold(wide / squares.sqrt().clamp_min(LEAST_NORM), |x, _| {
        let square = product(x.clone(), x.clone().transpose());
        let quartic = product(square.clone(), square.clone());
        x.clone() * a + product(square * b + quartic * c, x)
    })
}
