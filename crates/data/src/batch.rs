use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::Prompt;

/// Prompts as tensors: the only place where this crate meets burn.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// Inputs, `[batch_size, n_points, d_x]`.
    pub xs: Tensor<B, 3>,
    /// Targets, `[batch_size, n_points]`.
    pub ys: Tensor<B, 2>,
}

impl<B: Backend> Batch<B> {
    /// Copies prompts of one task to a device.
    ///
    /// # Panics
    /// When `prompts` is empty or its prompts differ in size.
    pub fn new(prompts: &[Prompt], device: &B::Device) -> Self {
        let (n_points, width) = (prompts[0].ys.len(), prompts[0].xs.len());
        let flat = |values: fn(&Prompt) -> &[f32]| {
            let values: Vec<f32> = prompts.iter().flat_map(values).copied().collect();
            // A GPU would space the rows of a matrix out, and put them side by side again before every use.
            let len = values.len();
            Tensor::<B, 1>::from_data(TensorData::new(values, [len]), device)
        };
        Self {
            xs: flat(|prompt| &prompt.xs).reshape([prompts.len(), n_points, width / n_points]),
            ys: flat(|prompt| &prompt.ys).reshape([prompts.len(), n_points]),
        }
    }
}
