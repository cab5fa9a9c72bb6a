//! Loss and gradients of one batch, split over threads in a way that does not depend on their number.

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use data::Prompt;
use model::{Batch, Free, Kernels, Model, squared_error};
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

/// Gradients of the mean squared error over all prompts and positions, by the parameters that `free` names.
///
/// The batch is cut into `shards` parts of nearly the same size, or into single prompts where it has fewer; their gradients are summed in the order of the
/// parts.
pub fn gradients<B: Kernels>(
    model: &Model<B>,
    free: Free,
    prompts: &[Prompt],
    shards: usize,
    device: &B::Device,
) -> Gradients<B> {
    let total = prompts.len() * prompts[0].ys.len();
    // None of them is empty.
    let shards = shards.min(prompts.len());
    let bounds = |shard: usize| shard * prompts.len() / shards;
    let part = |shard: usize| {
        let prompts = prompts[bounds(shard)..bounds(shard + 1)].iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..]));
        let batch = Batch::<B>::new(prompts, device);
        model.gradients(batch.clone(), total, free).unwrap_or_else(|| by_graph(model, free, batch, total))
    };
    let (losses, parts): (Vec<_>, Vec<_>) = (0..shards).into_par_iter().map(part).unzip();
    let mut sum = Sum { parts, parameters: GradientsParams::new(), sums: Vec::new() };
    model.visit(&mut sum);
    Gradients { parameters: sum.parameters, loss: B::add_parts(losses), norm: B::squares(sum.sums).sqrt() }
}

/// Loss and gradients of one part. It has a graph of its own, since threads that share one wait for each other.
fn by_graph<B: Kernels>(
    model: &Model<B>,
    free: Free,
    batch: Batch<B>,
    total: usize,
) -> (Tensor<B, 1>, GradientsParams) {
    let model = model.clone().train::<Autodiff<B>>().freeze_all_but(free);
    let (xs, ys) = (Tensor::from_inner(batch.xs), Tensor::from_inner(batch.ys));
    let loss = squared_error(model.forward(xs, ys.clone()), ys, total);
    (loss.clone().inner(), GradientsParams::from_grads(loss.backward(), &model))
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

impl<B: Kernels> ModuleVisitor<B> for Sum<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let part = |part: &mut GradientsParams| part.remove::<B, D>(param.id);
        let parts: Vec<_> = self.parts.iter_mut().filter_map(part).collect();
        if parts.is_empty() {
            return;
        }
        let sum = B::add_parts(parts);
        self.sums.push(sum.clone().flatten(0, D - 1));
        self.parameters.register(param.id, sum);
    }
}
