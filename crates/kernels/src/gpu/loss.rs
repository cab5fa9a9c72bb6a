//! The loss.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{ROWS, arg, by_element, contiguous, empty_all, len, planes, shaped};
use crate::SquaredErrorInputs;

/// The sum of the squares of all errors over `total`, by one cube: there are a few thousand.
#[cube(launch)]
fn squared_error_kernel(predictions: &Array<f32>, ys: &Array<f32>, loss: &mut Array<f32>, total: f32) {
    let mut sum = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < predictions.len() {
        let error = predictions[at] - ys[at];
        sum += error * error;
        at += CUBE_DIM as usize;
    }
    let sum = plane_sum(sum);
    let mut sums = SharedMemory::<f32>::new(ROWS as usize);
    if UNIT_POS_X == 0 {
        sums[UNIT_POS_Y as usize] = sum;
    }
    sync_cube();
    if UNIT_POS == 0 {
        let mut sum = 0.0f32;
        for plane in 0..ROWS as usize {
            sum += sums[plane];
        }
        loss[0] = sum / total;
    }
}

/// The gradients of the predictions from that of the loss.
#[cube(launch)]
fn squared_error_gradient_kernel(
    predictions: &Array<f32>,
    ys: &Array<f32>,
    gradient: &Array<f32>,
    of_predictions: &mut Array<f32>,
    total: f32,
) {
    if ABSOLUTE_POS < predictions.len() {
        of_predictions[ABSOLUTE_POS] = 2.0f32 * (gradient[0] / total) * (predictions[ABSOLUTE_POS] - ys[ABSOLUTE_POS]);
    }
}

/// The loss, `[1]`.
pub(crate) fn squared_error<R: CubeRuntime>(total: f32, inputs: SquaredErrorInputs<CubeTensor<R>>) -> CubeTensor<R> {
    let SquaredErrorInputs { predictions, ys } = contiguous(inputs);
    let loss = empty_all(&predictions, &[[1]]).remove(0);
    let (client, one) = (&predictions.client, CubeCount::Static(1, 1, 1));
    squared_error_kernel::launch(client, one, planes(client), arg(&predictions), arg(&ys), arg(&loss), total);
    loss
}

/// The gradient of the predictions.
pub(crate) fn squared_error_gradient<R: CubeRuntime>(
    total: f32,
    inputs: SquaredErrorInputs<CubeTensor<R>>,
    gradient: CubeTensor<R>,
) -> CubeTensor<R> {
    let SquaredErrorInputs { predictions, ys } = contiguous(inputs);
    let found = empty_all(&predictions, &[[len(&predictions)]]).remove(0);
    let (count, dim) = by_element(&predictions);
    let [guesses, ys, gradient, out] = [&predictions, &ys, &gradient, &found].map(arg);
    squared_error_gradient_kernel::launch(&predictions.client, count, dim, guesses, ys, gradient, out, total);
    shaped(found, predictions.meta.shape().as_slice())
}
