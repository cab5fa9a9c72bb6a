//! Products of matrices, in f64 where a backend's own keep fewer digits than an f32 has.

use burn::nn::Linear;
use burn::tensor::{FloatDType, Tensor};

use crate::Kernels;

/// The products of the matrices in the last two dimensions.
///
/// # Shapes
/// `[…, n, m]` and `[…, m, k]` to `[…, n, k]`
pub fn product<B: Kernels, const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>) -> Tensor<B, D> {
    if B::F64_PRODUCTS { f64_product(a, b) } else { a.matmul(b) }
}

/// x W + b, with the same products.
///
/// # Shapes
/// `[batch, tokens, inputs]` to `[batch, tokens, outputs]`
///
/// # Panics
/// When the map has no bias and products are taken in f64.
pub fn linear<B: Kernels>(layer: &Linear<B>, x: Tensor<B, 3>) -> Tensor<B, 3> {
    if !B::F64_PRODUCTS {
        return layer.forward(x);
    }
    let [batch, tokens, inputs] = x.dims();
    let rows = f64_product(x.reshape([batch * tokens, inputs]), layer.weight.val());
    let outputs = rows.dims()[1];
    let bias = layer.bias.as_ref().expect("the maps of the model have one").val();
    rows.reshape([batch, tokens, outputs]) + bias.unsqueeze()
}

/// The products of f32 are exact in f64; their sums are rounded once more, to f32. So are those of the gradients.
fn f64_product<B: Kernels, const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>) -> Tensor<B, D> {
    a.cast(FloatDType::F64).matmul(b.cast(FloatDType::F64)).cast(FloatDType::F32)
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, NdArray};

    use super::*;

    type B = Autodiff<NdArray>;

    fn matrix<const N: usize, const M: usize>(rows: [[f32; M]; N]) -> Tensor<B, 2> {
        Tensor::from_floats(rows, &Default::default())
    }

    fn host<B: Kernels>(tensor: Tensor<B, 2>) -> Vec<f32> {
        tensor.into_data().to_vec().expect("f32 again")
    }

    /// 2²⁴ + 1 is no f32, so sums in f32 lose the 1.
    #[test]
    fn an_f64_product_and_its_gradients_keep_what_f32_loses() {
        let large = 16_777_216.0;
        let [row, column] = [matrix([[large, 1.0, -large]]), matrix([[1.0], [1.0], [1.0]])];
        assert_eq!(host(row.clone().matmul(column.clone())), [0.0]);
        assert_eq!(host(f64_product(row.clone(), column.clone())), [1.0]);

        let [a, b] = [matrix([[1.0]]).require_grad(), matrix([[large, 1.0, -large]]).require_grad()];
        let gradients = f64_product(a.clone(), b.clone()).matmul(column).backward();
        assert_eq!(host(a.grad(&gradients).expect("tracked")), [1.0]);
        assert_eq!(host(b.grad(&gradients).expect("tracked")), [1.0; 3]);
    }
}
