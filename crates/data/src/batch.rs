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
        let flat = |values: fn(&Prompt) -> &[f32]| prompts.iter().flat_map(values).copied().collect::<Vec<f32>>();
        let xs = TensorData::new(flat(|prompt| &prompt.xs), [prompts.len(), n_points, width / n_points]);
        let ys = TensorData::new(flat(|prompt| &prompt.ys), [prompts.len(), n_points]);
        Self { xs: Tensor::from_data(xs, device), ys: Tensor::from_data(ys, device) }
    }
}
