//! Muon: a gradient's decaying mean, with its singular values made equal.

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use model::Kernels;

/// The root mean square of an entry of a move at a learning rate of 1: about that of Adam's, so that one learning rate suits
/// both.
const SPREAD: f64 = 0.2;

/// Muon with Nesterov's momentum: m ← μm + (1−μ)g, and a matrix moves along μm + (1−μ)g made
/// [orthogonal](Kernels::orthogonal). Maps that lie side by side in one weight, as those of query, key and value do, are moved
/// as matrices of their own.
///
/// # Source
/// Jordan et al. (2024), <https://kellerjordan.github.io/posts/muon>; the scale is that of Liu et al. (2025), arXiv 2502.16982.
#[derive(Debug)]
pub(crate) struct Muon {
    momentum: f64,
    /// What it moves, each with its number of maps.
    weights: Vec<(ParamId, usize)>,
    means: GradientsParams,
}

impl Muon {
    /// Without history.
    pub(crate) fn new(momentum: f64, weights: Vec<(ParamId, usize)>) -> Self {
        Self { momentum, weights, means: GradientsParams::new() }
    }

    /// Takes the means of its weights from those of all.
    pub(crate) fn restore<B: Kernels>(&mut self, all: &mut GradientsParams) {
        for &(id, _) in &self.weights {
            if let Some(mean) = all.remove::<B, 2>(id) {
                self.means.register(id, mean);
            }
        }
    }

    /// The decaying means of the gradients.
    pub(crate) fn means(&self) -> &GradientsParams {
        &self.means
    }

    /// How its weights move at a learning rate of 1, for which it takes their gradients, each times `factor`, `[1]`.
    pub(crate) fn moves<B: Kernels>(
        &mut self,
        gradients: &mut GradientsParams,
        factor: Option<&Tensor<B, 1>>,
    ) -> GradientsParams {
        let keep = self.momentum;
        let (mut maps, mut moved) = (Vec::new(), Vec::new());
        for &(id, n) in &self.weights {
            // Those that are frozen have none.
            let Some(gradient) = gradients.remove::<B, 2>(id) else { continue };
            let gradient = match factor {
                Some(factor) => gradient * factor.clone().reshape([1, 1]),
                None => gradient,
            };
            let taken = gradient * (1.0 - keep);
            let mean = match self.means.remove::<B, 2>(id) {
                Some(mean) => mean * keep + taken.clone(),
                None => taken.clone(),
            };
            maps.extend((mean.clone() * keep + taken).chunk(n, 1));
            self.means.register(id, mean);
            moved.push((id, n));
        }
        let mut directions = B::orthogonal(maps).into_iter().map(|direction| {
            let [rows, columns] = direction.dims();
            direction * (SPREAD * (rows.max(columns) as f64).sqrt())
        });
        let mut moves = GradientsParams::new();
        for (id, n) in moved {
            moves.register(id, Tensor::cat(directions.by_ref().take(n).collect(), 1));
        }
        moves
    }
}
