use burn::tensor::Tensor;

use crate::fused::{SquaredError, operate};
use crate::{FusedBackend, parameters};

/// The sum of squared errors over `total`, the number of all predictions of which these may be a part, in units of y²,
/// `[1]`. `ys` gets no gradient.
///
/// # Shapes
/// Both `[batch, n_points]`.
pub fn squared_error<B: FusedBackend>(predictions: Tensor<B, 2>, ys: Tensor<B, 2>, total: usize) -> Tensor<B, 1> {
    if !B::FUSED {
        let errors = predictions - ys;
        return (errors.clone() * errors).sum().div_scalar(total as f64);
    }
    let inputs = [predictions, ys].map(parameters::primitive);
    operate(SquaredError { total: total as f32 }, inputs)
}
