//! What the project asks of a backend beyond burn's own operations.

use burn::backend::NdArray;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
#[cfg(feature = "gpu")]
use burn::tensor::ops::FloatTensor;

use crate::{Ordinary, Way, orthogonal};

/// A backend that says how it does whole parts of the model.
///
/// For a backend of your own `type Way = Ordinary;` is enough: the model is then made of ordinary tensor operations.
pub trait Kernels: Backend {
    /// Whether whole parts of the model are done in one piece.
    type Way: Way<Self>;
    /// Whether its products run at [`products_per_second`](crate::products_per_second).
    const HOST_PRODUCTS: bool = false;
    /// Whether products of the ordinary operations are taken in f64.
    const F64_PRODUCTS: bool = false;

    /// The sum of gradients of the same parameter, in their order.
    fn add_parts<const D: usize>(parts: Vec<Tensor<Self, D>>) -> Tensor<Self, D> {
        parts.into_iter().reduce(|sum, part| sum + part).expect("a batch has at least one part")
    }

    /// The sum of the squares of all elements, `[1]`.
    fn squares(tensors: Vec<Tensor<Self, 1>>) -> Tensor<Self, 1> {
        Tensor::cat(tensors.into_iter().map(|tensor| (tensor.clone() * tensor).sum()).collect(), 0).sum()
    }

    /// Of every matrix U S Vᵀ, by its singular values S, about U Vᵀ: the direction in which Muon moves. The singular values end
    /// between 0.68 and 1.21, but for those below 0.0015 of the norm.
    ///
    /// # Source
    /// Jordan et al. (2024), <https://kellerjordan.github.io/posts/muon>; the 1e-7 is PyTorch's.
    fn orthogonal(matrices: Vec<Tensor<Self, 2>>) -> Vec<Tensor<Self, 2>> {
        orthogonal::orthogonal(matrices)
    }

    /// One of many [`Updates`] by Adam: of a parameter and its two moments from its gradient, in their memory where
    /// nobody else holds it. What comes back is to be read only behind [`finish`](Self::finish).
    ///
    /// # Source
    /// Kingma and Ba (2015), arXiv 1412.6980; the order of operations is PyTorch's.
    fn adam<const D: usize>(
        updates: &mut Updates<Self>,
        [value, first, second]: [Tensor<Self, D>; 3],
        gradient: Tensor<Self, D>,
    ) -> [Tensor<Self, D>; 3] {
        let AdamStep { beta_1, beta_2, epsilon, rate, root } = updates.step;
        let gradient = match &updates.factor {
            Some(factor) => gradient * factor.clone().reshape([1; D]),
            None => gradient,
        };
        let first = first * beta_1 + gradient.clone() * (1.0 - beta_1);
        let second = second * beta_2 + gradient.clone() * gradient * (1.0 - beta_2);
        let value = value - first.clone() * rate / (second.clone().sqrt() * root + epsilon);
        [value, first, second]
    }

    /// Does what updates are still to be done.
    fn finish(_: Updates<Self>) {}
}

/// The constants of one step of Adam: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², x ← x − rate·m / (√v·root + ε).
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Decay of the first moment, β₁.
    pub beta_1: f64,
    /// Decay of the second moment, β₂.
    pub beta_2: f64,
    /// Added to the root, ε.
    pub epsilon: f64,
    /// Learning rate over the first moment's bias correction, 1 − β₁ᵗ.
    pub rate: f64,
    /// One over the root of the second moment's bias correction, 1/√(1 − β₂ᵗ).
    pub root: f64,
}

impl AdamStep {
    /// The step behind `steps` others.
    pub fn after(steps: usize, [beta_1, beta_2]: [f64; 2], epsilon: f64, learning_rate: f64) -> Self {
        let t = (steps + 1) as f64;
        let (rate, root) = (learning_rate / (1.0 - beta_1.powf(t)), (1.0 - beta_2.powf(t)).sqrt().recip());
        Self { beta_1, beta_2, epsilon, rate, root }
    }
}

/// A step of Adam for many parameters.
#[derive(Debug)]
pub struct Updates<B: Backend> {
    pub(crate) step: AdamStep,
    pub(crate) factor: Option<Tensor<B, 1>>,
    /// Parameters with their two moments, and their gradients: a GPU moves many with one launch.
    #[cfg(feature = "gpu")]
    pub(crate) waiting: Vec<([FloatTensor<B>; 3], FloatTensor<B>)>,
}

impl<B: Backend> Updates<B> {
    /// None as yet. Every gradient will be multiplied by `factor`, `[1]`.
    pub fn new(step: AdamStep, factor: Option<Tensor<B, 1>>) -> Self {
        Self {
            step,
            factor,
            #[cfg(feature = "gpu")]
            waiting: Vec::new(),
        }
    }
}

impl Kernels for NdArray {
    type Way = Ordinary;
}
