//! When two tensors count as equal.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use model::HostTensor;

/// Largest absolute difference, over the largest absolute value expected.
pub(crate) fn relative_error(found: &HostTensor, expected: &HostTensor) -> f64 {
    assert_eq!(found.shape, expected.shape);
    let pairs = found.values.iter().zip(&expected.values);
    // A difference that is not a number must not get lost in a maximum.
    let difference = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).max_by(f64::total_cmp).unwrap();
    difference / largest(expected)
}

pub(crate) fn largest(tensor: &HostTensor) -> f64 {
    tensor.values.iter().map(|&value| f64::from(value.abs())).fold(0.0, f64::max)
}

pub(crate) fn assert_close(name: &str, found: &HostTensor, expected: &HostTensor, tolerance: f64) {
    let error = relative_error(found, expected);
    assert!(error <= tolerance, "{name}: relative error {error:.1e}, above {tolerance:e}");
}

pub(crate) fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> HostTensor {
    let shape = tensor.dims().to_vec();
    let data: TensorData = tensor.into_data().convert::<f32>();
    HostTensor { shape, values: data.to_vec().unwrap() }
}
