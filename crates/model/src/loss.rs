//! What training makes small.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use kernels::{Kernels, SquaredError, SquaredErrorInputs};

use crate::tape::{self, Operand};

/// The sum of squared errors over `total`, the number of all predictions of which these may be a part, in units of y²,
/// `[1]`. `ys` gets no gradient.
///
/// # Shapes
/// Both `[batch, n_points]`.
pub fn squared_error<B: Kernels>(predictions: Tensor<B, 2>, ys: Tensor<B, 2>, total: usize) -> Tensor<B, 1> {
    let ordinary = |[predictions, ys]: [Tensor<B, 2>; 2]| {
        let errors = predictions - ys;
        (errors.clone() * errors).sum().div_scalar(total as f64)
    };
    tape::run([predictions, ys], |[predictions, ys]| operation(predictions, ys, total), ordinary)
}

/// The same as one operation.
pub(crate) fn operation<B: Backend>(
    predictions: Tensor<B, 2>,
    ys: Tensor<B, 2>,
    total: usize,
) -> (SquaredError, SquaredErrorInputs<Operand<B>>) {
    let inputs = SquaredErrorInputs { predictions: Operand::given(predictions), ys: Operand::given(ys) };
    (SquaredError { total: total as f32 }, inputs)
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, NdArray};
    use burn::tensor::{Tensor, TensorData};
    use burn_flex::Flex;
    use rand::SeedableRng;

    use super::*;
    use crate::fused_tests::random;

    /// The loss, and the gradient of the predictions of something three times as large.
    fn loss<B: Kernels>() -> (f32, Vec<f32>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        let mut tensor = || {
            let values = TensorData::new(random(33 * 20, &mut rng), [33, 20]);
            Tensor::<Autodiff<B>, 2>::from_data(values, &B::Device::default())
        };
        let (predictions, ys) = (tensor().require_grad(), tensor());
        let loss = squared_error(predictions.clone(), ys, 1000);
        let gradients = (loss.clone() * 3.0).backward();
        let found = predictions.grad(&gradients).expect("predictions were tracked").into_data();
        let [loss, gradient] = [loss.into_data(), found].map(|data| data.to_vec().expect("the tensors are f32"));
        (loss[0], gradient)
    }

    #[test]
    fn the_gradient_is_that_of_ordinary_operations_to_the_bit() {
        let (found, expected) = (loss::<Flex>(), loss::<NdArray>());
        assert!((found.0 / expected.0 - 1.0).abs() < 1e-6, "{} against {}", found.0, expected.0);
        assert_eq!(found.1, expected.1);
    }
}
