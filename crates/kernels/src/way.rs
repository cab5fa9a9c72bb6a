//! How a backend does what could be done in one piece.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::{AnySaved, Inputs, Operation};

/// How a backend B does what could be done in one piece.
///
/// It is a type, so that nothing asks at run time what a backend can do, and a fused operation where there is none does
/// not compile:
///
/// ```compile_fail,E0277
/// fn is_way_of_ndarray<W: kernels::Way<burn::backend::NdArray>>() {}
/// is_way_of_ndarray::<kernels::Fused>();
/// ```
pub trait Way<B: Backend> {
    /// The way of the same backend with gradients.
    type Trained<C: CheckpointStrategy>: Way<Autodiff<B, C>>;

    /// The result for `input` of one of the two, which compute the same: `fused` says which operation that is and what
    /// it is applied to, `ordinary` does it by the backend's own operations.
    fn run<I, O: Operation<N>, const N: usize, const D: usize>(
        input: I,
        fused: impl FnOnce(I) -> (O, O::Inputs<FloatTensor<B>>),
        ordinary: impl FnOnce(I) -> Tensor<B, D>,
    ) -> Tensor<B, D>;

    /// The result of an operation, and the way back through it; none where it is not done in one piece, or gradients are
    /// autodiff's.
    fn there_and_back<O: Operation<N>, const N: usize>(
        _operation: O,
        _inputs: O::Inputs<FloatTensor<B>>,
    ) -> Option<(FloatTensor<B>, Back<B, N>)> {
        None
    }
}

/// From the gradient of a result to those of what it was computed from, but for constants.
pub type Back<B, const N: usize> = Box<dyn FnOnce(FloatTensor<B>) -> [Option<FloatTensor<B>>; N]>;

/// By the backend's own operations.
#[derive(Clone, Copy, Debug)]
pub struct Ordinary;

/// By operations in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Fused;

/// The same, with gradients: autodiff is told what each needs for its own.
#[derive(Clone, Copy, Debug)]
pub struct Recorded;

/// A backend that has operations in one piece.
pub trait FusedKernels: Backend {
    /// The result of an operation.
    fn operate<const N: usize, O: Operation<N>>(operation: &O, inputs: [FloatTensor<Self>; N]) -> FloatTensor<Self>;

    /// [`operate`](Self::operate), and what its gradient needs.
    fn operate_saved<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[FloatTensor<Self>; N],
    ) -> (FloatTensor<Self>, AnySaved);

    /// The gradients of the inputs from that of the result, but for constants.
    fn gradient<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[FloatTensor<Self>; N],
        saved: &AnySaved,
        gradient: FloatTensor<Self>,
    ) -> [Option<FloatTensor<Self>>; N];
}

impl<B: Backend> Way<B> for Ordinary {
    type Trained<C: CheckpointStrategy> = Self;

    fn run<I, O: Operation<N>, const N: usize, const D: usize>(
        input: I,
        _: impl FnOnce(I) -> (O, O::Inputs<FloatTensor<B>>),
        ordinary: impl FnOnce(I) -> Tensor<B, D>,
    ) -> Tensor<B, D> {
        ordinary(input)
    }
}

impl<B: FusedKernels> Way<B> for Fused {
    type Trained<C: CheckpointStrategy> = Recorded;

    fn run<I, O: Operation<N>, const N: usize, const D: usize>(
        input: I,
        fused: impl FnOnce(I) -> (O, O::Inputs<FloatTensor<B>>),
        _: impl FnOnce(I) -> Tensor<B, D>,
    ) -> Tensor<B, D> {
        let (operation, inputs) = fused(input);
        Tensor::from_primitive(TensorPrimitive::Float(B::operate(&operation, inputs.into_array())))
    }

    fn there_and_back<O: Operation<N>, const N: usize>(
        operation: O,
        inputs: O::Inputs<FloatTensor<B>>,
    ) -> Option<(FloatTensor<B>, Back<B, N>)> {
        let inputs = inputs.into_array();
        let (out, saved) = B::operate_saved(&operation, &inputs);
        Some((out, Box::new(move |gradient| B::gradient(&operation, &inputs, &saved, gradient))))
    }
}
