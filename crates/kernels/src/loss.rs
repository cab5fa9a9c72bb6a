//! The loss as one operation: by ordinary ones it would be many launches on a GPU.

#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuRuntime};
use crate::{Inputs, Operation};

/// The sum of the squares of some errors over `total`, `[1]`.
#[derive(Clone, Copy, Debug)]
pub struct SquaredError {
    /// What the sum is divided by.
    pub total: f32,
}

/// What a loss is computed from, both of one shape.
#[derive(Clone, Copy, Debug)]
pub struct SquaredErrorInputs<T> {
    /// What the model says.
    pub predictions: T,
    /// What it should say, a constant: it gets no gradient.
    pub ys: T,
}

impl<T> Inputs<T, 2> for SquaredErrorInputs<T> {
    fn into_array(self) -> [T; 2] {
        [self.predictions, self.ys]
    }

    fn from_array([predictions, ys]: [T; 2]) -> Self {
        Self { predictions, ys }
    }
}

impl Operation<2> for SquaredError {
    type Inputs<T> = SquaredErrorInputs<T>;
    type Saved = ();
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = ();

    fn shape(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(&self, _: Arch, inputs: SquaredErrorInputs<&[f32]>, _: bool) -> (Vec<f32>, ()) {
        let SquaredErrorInputs { predictions, ys } = inputs;
        let squares = predictions.iter().zip(ys).map(|(prediction, y)| f64::from(prediction - y).powi(2));
        (vec![(squares.sum::<f64>() / f64::from(self.total)) as f32], ())
    }

    fn backward(
        &self,
        _: Arch,
        inputs: SquaredErrorInputs<&[f32]>,
        (): &(),
        gradient: &[f32],
    ) -> SquaredErrorInputs<Option<Vec<f32>>> {
        let SquaredErrorInputs { predictions, ys } = inputs;
        let slope = 2.0 * (gradient[0] / self.total);
        let of_predictions = predictions.iter().zip(ys).map(|(prediction, y)| slope * (prediction - y)).collect();
        SquaredErrorInputs { predictions: Some(of_predictions), ys: None }
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(&self, inputs: SquaredErrorInputs<CubeTensor<R>>) -> (CubeTensor<R>, ()) {
        (gpu::squared_error(self.total, inputs), ())
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: SquaredErrorInputs<CubeTensor<R>>,
        (): &(),
        gradient: CubeTensor<R>,
    ) -> SquaredErrorInputs<Option<CubeTensor<R>>> {
        let of_predictions = gpu::squared_error_gradient(self.total, inputs, gradient);
        SquaredErrorInputs { predictions: Some(of_predictions), ys: None }
    }
}
