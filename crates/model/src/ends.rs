//! The two ends of every model: prompts become a sequence of tokens, and a state becomes a number.

use burn::nn::Linear;
use burn::tensor::{Slice, Tensor, backend::Backend};

/// The sequence x1 y1 x2 y2 …, in which a y token is (y, 0, …, 0).
///
/// # Shapes
/// `[batch, n_points, d_x]` and `[batch, n_points]` to `[batch, 2 n_points, d_x]`
pub(crate) fn tokens<B: Backend>(xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
    let [batch, n_points, d_x] = xs.dims();
    let zeros = Tensor::zeros([batch, n_points, d_x - 1], &xs.device());
    let ys = Tensor::cat(vec![ys.unsqueeze_dim(2), zeros], 2);
    Tensor::stack::<4>(vec![xs, ys], 2).reshape([batch, 2 * n_points, d_x])
}

/// What a sequence has at its x tokens; a last x may be without its y.
///
/// # Shapes
/// `[batch, tokens, d_model]` to `[batch, n_points, d_model]`
pub(crate) fn at_x<B: Backend>(h: Tensor<B, 3>) -> Tensor<B, 3> {
    h.slice_dim(1, Slice::new(0, None, 2))
}

/// A linear map of every state to one number.
///
/// # Shapes
/// `[batch, n_points, d_model]` to `[batch, n_points]`
pub(crate) fn number<B: Backend>(map: &Linear<B>, h: Tensor<B, 3>) -> Tensor<B, 2> {
    let [batch, n_points, d_model] = h.dims();
    // No product of a matrix and a column, which burn 0.21 may get wrong on a GPU (tracel-ai/burn issue 5122).
    let weight = map.weight.val().reshape([1, 1, d_model]);
    let bias = map.bias.as_ref().expect("the read-out has a bias").val().unsqueeze();
    (h * weight).sum_dim(2).reshape([batch, n_points]) + bias
}
