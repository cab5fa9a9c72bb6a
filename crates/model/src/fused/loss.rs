//! The loss in one piece: as ordinary operations it would be many launches on a GPU.

#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

use super::operation::Operation;
#[cfg(feature = "gpu")]
use crate::gpu;

/// The sum of the squares of some errors over `total`.
///
/// Inputs: the predictions and, of the same shape, what is predicted, which is a constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SquaredError {
    pub(crate) total: f32,
}

impl Operation<2> for SquaredError {
    type Kept = ();
    #[cfg(feature = "gpu")]
    type KeptOnGpu<R: CubeRuntime> = ();

    fn shape(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(&self, _: Arch, [predictions, ys]: [&[f32]; 2], _: bool) -> (Vec<f32>, ()) {
        let squares = predictions.iter().zip(ys).map(|(prediction, y)| f64::from(prediction - y).powi(2));
        (vec![(squares.sum::<f64>() / f64::from(self.total)) as f32], ())
    }

    fn backward(&self, _: Arch, [predictions, ys]: [&[f32]; 2], (): &(), gradient: &[f32]) -> [Option<Vec<f32>>; 2] {
        let slope = 2.0 * (gradient[0] / self.total);
        let of_predictions = predictions.iter().zip(ys).map(|(prediction, y)| slope * (prediction - y)).collect();
        [Some(of_predictions), None]
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: CubeRuntime>(&self, inputs: [CubeTensor<R>; 2]) -> (CubeTensor<R>, ()) {
        (gpu::squared_error(self.total, inputs), ())
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: CubeRuntime>(
        &self,
        inputs: [CubeTensor<R>; 2],
        (): &(),
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; 2] {
        [Some(gpu::squared_error_gradient(self.total, inputs, gradient)), None]
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, NdArray};
    use burn::tensor::{Tensor, TensorData};
    use burn_flex::Flex;
    use rand::SeedableRng;

    use crate::fused::tests::random;
    use crate::{FusedBackend, squared_error};

    /// The loss, and the gradient of the predictions of something three times as large.
    fn loss<B: FusedBackend>() -> (f32, Vec<f32>) {
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
