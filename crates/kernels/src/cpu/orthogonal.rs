//! The direction in which Muon moves a matrix, each on one thread.

use super::product::{Matrix, MatrixMut};
use crate::orthogonal::{ITERATIONS, LEAST_NORM, QUINTIC};

/// See [`Kernels::orthogonal`](crate::Kernels::orthogonal); of `[values.len() / columns, columns]`, row-major, and so is what
/// comes back.
pub(super) fn orthogonal(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    // The products are taken over the longer side.
    if rows <= columns { wide(values, columns) } else { transposed(&wide(&transposed(values, columns), rows), rows) }
}

fn wide(values: &[f32], columns: usize) -> Vec<f32> {
    let [a, b, c] = QUINTIC.map(|coefficient| coefficient as f32);
    let rows = values.len() / columns;
    let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    let scale = squares.sqrt().max(LEAST_NORM).recip() as f32;
    let mut x: Vec<f32> = values.iter().map(|x| x * scale).collect();
    let [mut square, mut quartic] = [(); 2].map(|()| vec![0.0; rows * rows]);
    let mut product = vec![0.0; values.len()];
    for _ in 0..ITERATIONS {
        let wide = Matrix::new(&x, columns);
        MatrixMut::new(&mut square, rows).set_product(wide, wide.transposed());
        MatrixMut::new(&mut quartic, rows).set_product(Matrix::new(&square, rows), Matrix::new(&square, rows));
        square.iter_mut().zip(&quartic).for_each(|(square, quartic)| *square = b * *square + c * quartic);
        MatrixMut::new(&mut product, columns).set_product(Matrix::new(&square, rows), wide);
        x.iter_mut().zip(&product).for_each(|(x, product)| *x = a * *x + product);
    }
    x
}

fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values[column..].iter().step_by(columns).copied()).collect()
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;
    use burn::tensor::{Tensor, TensorData};
    use burn_flex::Flex;
    use rand::{RngExt, SeedableRng};

    use crate::Kernels;
    use crate::orthogonal::{ITERATIONS, QUINTIC};

    type Matrix<B> = Tensor<B, 2>;

    fn of<B: Kernels>(matrices: &[Matrix<NdArray>]) -> Vec<Vec<f32>> {
        let device = B::Device::default();
        let matrices = matrices.iter().map(|matrix| Matrix::<B>::from_data(matrix.to_data(), &device)).collect();
        B::orthogonal(matrices).into_iter().map(|matrix| matrix.into_data().to_vec().unwrap()).collect()
    }

    fn random(shape: [usize; 2]) -> Matrix<NdArray> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(shape[0] as u64);
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-3.0..3.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    /// The backend without operations of its own is the reference.
    #[test]
    fn wide_tall_and_square_matrices_are_those_of_the_reference() {
        let matrices = [[8, 8], [4, 12], [12, 4], [1, 3], [65, 17]].map(random);
        for (found, expected) in of::<Flex>(&matrices).iter().flatten().zip(of::<NdArray>(&matrices).iter().flatten()) {
            assert!((found - expected).abs() < 2e-5, "{found} against {expected}");
        }
    }

    /// Of a diagonal matrix only the diagonal changes: by the polynomial, from its share of the norm, whatever the norm is.
    #[test]
    fn singular_values_go_through_the_polynomial() {
        let [a, b, c] = QUINTIC;
        let shares = [0.8, 0.6, 0.003];
        let norm = shares.iter().map(|share: &f64| share * share).sum::<f64>().sqrt();
        let polynomial = |x: f64| a * x + b * x.powi(3) + c * x.powi(5);
        let expected = shares.map(|share| (0..ITERATIONS).fold(share / norm, |x, _| polynomial(x)));
        assert!(expected.iter().all(|value| (0.68..1.21).contains(value)), "{expected:?}");
        for scale in [1.0, 1e3] {
            let mut values = [0.0; 12];
            (0..3).for_each(|i| values[5 * i] = (scale * shares[i]) as f32);
            let diagonal = Tensor::from_data(TensorData::new(values.to_vec(), [3, 4]), &Default::default());
            for (at, found) in of::<Flex>(&[diagonal])[0].iter().enumerate() {
                let expected = if at % 5 == 0 { expected[at / 5] } else { 0.0 };
                assert!((f64::from(*found) - expected).abs() < 2e-5, "{at}: {found} and not {expected}");
            }
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(of::<Flex>(&[Tensor::zeros([2, 3], &Default::default())]), [[0.0; 6]]);
    }
}
