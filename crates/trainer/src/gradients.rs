//! Loss and gradients of one batch, split over threads in a way that does not depend on their number.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use data::{Batch, Prompt};
use model::{TrainingBackend, Transformer};
use rayon::prelude::*;

/// What one batch says about the model, still on the device.
#[derive(Debug)]
pub struct Gradients<B: Backend> {
    /// One gradient for every parameter.
    pub parameters: GradientsParams,
    /// Mean squared error of the predictions, in units of y², `[1]`.
    pub loss: Tensor<B, 1>,
    /// Euclidean norm over all parameters, `[1]`.
    pub norm: Tensor<B, 1>,
}

/// Gradients of the mean squared error over all prompts and positions.
///
/// The batch is cut into `shards` parts of nearly the same size. Every part has its own graph, since threads that
/// share one wait for each other; their gradients are summed in the order of the parts.
pub fn gradients<B: TrainingBackend>(
    model: &Transformer<B>,
    prompts: &[Prompt],
    shards: usize,
    device: &B::Device,
) -> Gradients<B::InnerBackend> {
    let total = (prompts.len() * prompts[0].ys.len()) as f64;
    let bounds = |shard: usize| shard * prompts.len() / shards;
    let part = |shard: usize| {
        let model = model.clone().fork(device);
        let batch = Batch::<B>::new(&prompts[bounds(shard)..bounds(shard + 1)], device);
        let residuals = model.forward(batch.xs, batch.ys.clone()) - batch.ys;
        let loss = (residuals.clone() * residuals).sum() / total;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        (loss.inner(), gradients)
    };
    let parts: Vec<_> = (0..shards).into_par_iter().map(part).collect();
    let mut sum = GradientsAccumulator::new();
    let mut losses = Vec::with_capacity(shards);
    for (loss, gradients) in parts {
        sum.accumulate::<B>(model, gradients);
        losses.push(loss);
    }
    let parameters = sum.grads();
    let norm = norm(model, &parameters);
    Gradients { parameters, loss: Tensor::cat(losses, 0).sum(), norm }
}

impl<B: Backend> Gradients<B> {
    /// Scales the gradients down to a global norm of at most `most`.
    ///
    /// # Source
    /// Pascanu et al. (2013), arXiv 1211.5063; the 1e-6 is PyTorch's.
    pub fn clip<AB: AutodiffBackend<InnerBackend = B>>(self, model: &Transformer<AB>, most: f64) -> Self {
        let factor = ((self.norm.clone() + 1e-6).recip() * most).clamp_max(1.0);
        let mut scale = Scale { factor, gradients: self.parameters };
        let _ = model.clone().map(&mut scale);
        Self { parameters: scale.gradients, ..self }
    }
}

fn norm<B: AutodiffBackend>(model: &Transformer<B>, gradients: &GradientsParams) -> Tensor<B::InnerBackend, 1> {
    struct Squares<'a, B: Backend>(&'a GradientsParams, Vec<Tensor<B, 1>>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B::InnerBackend> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(gradient) = self.0.get::<B::InnerBackend, D>(param.id) {
                self.1.push((gradient.clone() * gradient).sum());
            }
        }
    }
    let mut squares = Squares(gradients, Vec::new());
    model.visit(&mut squares);
    Tensor::cat(squares.1, 0).sum().sqrt()
}

struct Scale<B: Backend> {
    factor: Tensor<B, 1>,
    gradients: GradientsParams,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Scale<B::InnerBackend> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor.clone().reshape([1; D]));
        }
        param
    }
}
