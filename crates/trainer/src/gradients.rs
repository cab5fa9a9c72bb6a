//! Loss and gradients of one batch, split over threads in a way that does not depend on their number.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use data::Prompt;
use model::{Batch, Kernels, Model, TrainingBackend, squared_error};
use rayon::prelude::*;

/// What one batch says about the model, still on the device.
#[derive(Debug)]
pub struct Gradients<B: Backend> {
    /// One gradient for every free parameter.
    pub parameters: GradientsParams,
    /// Mean squared error of the predictions, in units of y², `[1]`.
    pub loss: Tensor<B, 1>,
    /// Euclidean norm over the free parameters, `[1]`.
    pub norm: Tensor<B, 1>,
}

/// Gradients of the mean squared error over all prompts and positions.
///
/// The batch is cut into `shards` parts of nearly the same size, or into single prompts where it has fewer. Every part has its own graph, since threads that
/// share one wait for each other; their gradients are summed in the order of the parts.
pub fn gradients<B: TrainingBackend>(
    model: &Model<B>,
    prompts: &[Prompt],
    shards: usize,
    device: &B::Device,
) -> Gradients<B::InnerBackend> {
    let total = prompts.len() * prompts[0].ys.len();
    // None of them is empty.
    let shards = shards.min(prompts.len());
    let bounds = |shard: usize| shard * prompts.len() / shards;
    let part = |shard: usize| {
        let forked = (shards > 1).then(|| model.clone().fork(device));
        let model = forked.as_ref().unwrap_or(model);
        let prompts = prompts[bounds(shard)..bounds(shard + 1)].iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..]));
        let batch = Batch::<B>::new(prompts, device);
        let loss = squared_error(model.forward(batch.xs, batch.ys.clone()), batch.ys, total);
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        (loss.inner(), gradients)
    };
    let (losses, parts): (Vec<_>, Vec<_>) = (0..shards).into_par_iter().map(part).unzip();
    let mut sum = Sum { parts, parameters: GradientsParams::new(), sums: Vec::new() };
    model.visit(&mut sum);
    let norm = B::InnerBackend::squares(sum.sums).sqrt();
    Gradients { parameters: sum.parameters, loss: B::InnerBackend::add_parts(losses), norm }
}

impl<B: Backend> Gradients<B> {
    /// What the gradients are to be multiplied with for a global norm of at most `most`, `[1]`.
    ///
    /// # Source
    /// Pascanu et al. (2013), arXiv 1211.5063; the 1e-6 is PyTorch's.
    pub fn clip_factor(&self, most: f64) -> Tensor<B, 1> {
        ((self.norm.clone() + 1e-6).recip() * most).clamp_max(1.0)
    }
}

/// Adds up the parts of every gradient.
struct Sum<B: Backend> {
    parts: Vec<GradientsParams>,
    parameters: GradientsParams,
    sums: Vec<Tensor<B, 1>>,
}

impl<B: TrainingBackend> ModuleVisitor<B> for Sum<B::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let part = |part: &mut GradientsParams| part.remove::<B::InnerBackend, D>(param.id);
        let parts: Vec<_> = self.parts.iter_mut().filter_map(part).collect();
        if parts.is_empty() {
            return;
        }
        let sum = B::InnerBackend::add_parts(parts);
        self.sums.push(sum.clone().flatten(0, D - 1));
        self.parameters.register(param.id, sum);
    }
}
