//! From prompts to tensors.

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// Prompts as tensors.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// Inputs, `[batch_size, n_points, d_x]`.
    pub xs: Tensor<B, 3>,
    /// Targets, `[batch_size, n_points]`.
    pub ys: Tensor<B, 2>,
}

impl<B: Backend> Batch<B> {
    /// Copies prompts of one task to a device: of each its inputs, row-major `[n_points, d_x]`, and its targets,
    /// `[n_points]`.
    ///
    /// # Panics
    /// When there is no prompt or they differ in size.
    pub fn new<'a>(prompts: impl IntoIterator<Item = (&'a [f32], &'a [f32])>, device: &B::Device) -> Self {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        let (mut batch_size, mut n_points) = (0, 0);
        for (inputs, targets) in prompts {
            xs.extend_from_slice(inputs);
            ys.extend_from_slice(targets);
            (batch_size, n_points) = (batch_size + 1, targets.len());
        }
        let d_x = xs.len() / ys.len();
        // A GPU would space the rows of a matrix out, and put them side by side again before every use.
        let flat = |values: Vec<f32>| {
            let len = values.len();
            Tensor::<B, 1>::from_data(TensorData::new(values, [len]), device)
        };
        Self { xs: flat(xs).reshape([batch_size, n_points, d_x]), ys: flat(ys).reshape([batch_size, n_points]) }
    }
}
