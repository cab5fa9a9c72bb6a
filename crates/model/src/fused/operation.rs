//! The fused block as a burn operation: for flex, and with its gradient for autodiff on top of it.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, NdArray};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorData, TensorMetadata, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use pulp::Arch;

use super::block::{self, Geometry, Kept};
use super::fold::Parameters;
use super::update::{self, AdamStep};

/// A backend that may have the whole transformer block as one operation.
///
/// Implement it for a backend of your own with an empty body: blocks are then made of ordinary tensor operations.
pub trait FusedBackend: Backend {
    /// Whether [`block`](Self::block) exists.
    const FUSED: bool = false;
    /// Whether the operations that autodiff needs exist.
    const FUSED_GRADIENT: bool = false;

    /// A block, from `h` and the block's parameters in the order of [`crate::Block`]'s fields.
    #[doc(hidden)]
    fn block(_: Geometry, _: FloatTensor<Self>, _: [FloatTensor<Self>; 12]) -> FloatTensor<Self> {
        unreachable!("asked only where FUSED is set")
    }

    /// [`block`](Self::block), and what its gradient needs.
    #[doc(hidden)]
    fn block_kept(_: Geometry, _: FloatTensor<Self>, _: &[FloatTensor<Self>; 12]) -> (FloatTensor<Self>, Kept) {
        unreachable!("asked only where FUSED_GRADIENT is set")
    }

    /// The gradients of `h` and of the parameters.
    #[doc(hidden)]
    fn block_gradient(
        _: Geometry,
        _: &[FloatTensor<Self>; 12],
        _: &Kept,
        _: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, [FloatTensor<Self>; 12]) {
        unreachable!("asked only where FUSED_GRADIENT is set")
    }

    /// The sum of gradients of the same parameter, in their order, and the sum of its squares, `[1]`.
    fn add_parts<const D: usize>(parts: Vec<Tensor<Self, D>>) -> (Tensor<Self, D>, Tensor<Self, 1>) {
        let sum = parts.into_iter().reduce(|sum, part| sum + part).expect("a batch has at least one part");
        (sum.clone(), (sum.clone() * sum).sum())
    }

    /// One step of Adam on a parameter and its two moments, with the gradient multiplied by `factor`, `[1]`.
    ///
    /// # Source
    /// Kingma and Ba (2015), arXiv 1412.6980; the order of operations is PyTorch's.
    fn adam<const D: usize>(
        step: AdamStep,
        factor: Option<Tensor<Self, 1>>,
        [value, first, second]: [Tensor<Self, D>; 3],
        gradient: Tensor<Self, D>,
    ) -> [Tensor<Self, D>; 3] {
        let AdamStep { beta_1, beta_2, epsilon, rate, root } = step;
        let gradient = match factor {
            Some(factor) => gradient * factor.reshape([1; D]),
            None => gradient,
        };
        let first = first * beta_1 + gradient.clone() * (1.0 - beta_1);
        let second = second * beta_2 + gradient.clone() * gradient * (1.0 - beta_2);
        let value = value - first.clone() * rate / (second.clone().sqrt() * root + epsilon);
        [value, first, second]
    }
}

/// A backend with gradients, whose inner backend runs what is trained.
pub trait TrainingBackend: AutodiffBackend<InnerBackend: FusedBackend> + FusedBackend {}

impl<B: AutodiffBackend<InnerBackend: FusedBackend> + FusedBackend> TrainingBackend for B {}

impl FusedBackend for NdArray {}

#[cfg(feature = "cuda")]
impl FusedBackend for burn::backend::Cuda {}

impl FusedBackend for Flex {
    const FUSED: bool = true;
    const FUSED_GRADIENT: bool = true;

    fn block(geometry: Geometry, h: FlexTensor, parameters: [FlexTensor; 12]) -> FlexTensor {
        on_slices(geometry, h, &parameters, false).0
    }

    fn block_kept(geometry: Geometry, h: FlexTensor, parameters: &[FlexTensor; 12]) -> (FlexTensor, Kept) {
        on_slices(geometry, h, parameters, true)
    }

    fn block_gradient(
        geometry: Geometry,
        parameters: &[FlexTensor; 12],
        kept: &Kept,
        gradient: FlexTensor,
    ) -> (FlexTensor, [FlexTensor; 12]) {
        let gradient = gradient.to_contiguous();
        let slices = Parameters::from_array(parameters.each_ref().map(values));
        let (h, found) = block::backward(Arch::new(), geometry, &slices, kept, values(&gradient));
        let mut shapes = parameters.iter().map(|parameter| parameter.shape().to_vec());
        let found = found.into_array().map(|values| tensor(values, shapes.next().expect("there are twelve of both")));
        (tensor(h, vec![geometry.sequences, geometry.tokens, geometry.d_model]), found)
    }

    fn add_parts<const D: usize>(parts: Vec<Tensor<Self, D>>) -> (Tensor<Self, D>, Tensor<Self, 1>) {
        let mut parts = parts.into_iter().map(|part| primitive(part).to_contiguous());
        let mut sum = parts.next().expect("a batch has at least one part");
        let parts: Vec<_> = parts.collect();
        let squares =
            update::add_parts(Arch::new(), values_mut(&mut sum), &parts.iter().map(values).collect::<Vec<_>>());
        (from_primitive(sum), from_primitive(tensor(vec![squares], vec![1])))
    }

    fn adam<const D: usize>(
        step: AdamStep,
        factor: Option<Tensor<Self, 1>>,
        state: [Tensor<Self, D>; 3],
        gradient: Tensor<Self, D>,
    ) -> [Tensor<Self, D>; 3] {
        let factor = factor.map_or(1.0, |factor| values(&primitive(factor))[0]);
        let [mut value, mut first, mut second] = state.map(|tensor| primitive(tensor).to_contiguous());
        let state = [&mut value, &mut first, &mut second].map(values_mut);
        update::adam(Arch::new(), step, factor, state, values(&primitive(gradient).to_contiguous()));
        [value, first, second].map(from_primitive)
    }
}

fn on_slices(geometry: Geometry, h: FlexTensor, parameters: &[FlexTensor; 12], keep: bool) -> (FlexTensor, Kept) {
    let h = h.to_contiguous();
    let slices = Parameters::from_array(parameters.each_ref().map(values));
    let (out, kept) = block::forward(Arch::new(), geometry, &slices, values(&h), keep);
    (tensor(out, vec![geometry.sequences, geometry.outputs(), geometry.d_model]), kept)
}

/// The elements of a contiguous tensor.
fn values(tensor: &FlexTensor) -> &[f32] {
    let (first, end) = tensor.layout().contiguous_offsets().expect("parameters and states are contiguous");
    &tensor.storage::<f32>()[first..end]
}

/// The elements of a contiguous tensor, copied first if someone else holds them.
fn values_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let (first, end) = tensor.layout().contiguous_offsets().expect("gradients and moments are contiguous");
    &mut tensor.storage_mut::<f32>()[first..end]
}

fn primitive<const D: usize>(tensor: Tensor<Flex, D>) -> FlexTensor {
    tensor.into_primitive().tensor()
}

fn from_primitive<const D: usize>(primitive: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn tensor(values: Vec<f32>, shape: Vec<usize>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

impl<B: FusedBackend, C: CheckpointStrategy> FusedBackend for Autodiff<B, C> {
    const FUSED: bool = B::FUSED_GRADIENT;

    fn block(geometry: Geometry, h: FloatTensor<Self>, parameters: [FloatTensor<Self>; 12]) -> FloatTensor<Self> {
        let parents: Vec<_> = parameters.iter().chain([&h]).map(|parent| parent.node.clone()).collect();
        let nodes = parents.try_into().expect("there are twelve parameters and h");
        let parameters = parameters.map(|parameter| parameter.primitive);
        match BlockGradient.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(B::block(geometry, h.primitive, parameters)),
            OpsKind::Tracked(prepared) => {
                let (out, kept) = B::block_kept(geometry, h.primitive, &parameters);
                prepared.finish((geometry, parameters, Arc::new(kept)), out)
            }
        }
    }
}

/// The backward pass; its parents are the twelve parameters and h.
#[derive(Debug)]
struct BlockGradient;

impl<B: FusedBackend> Backward<B, 13> for BlockGradient {
    type State = (Geometry, [FloatTensor<B>; 12], Arc<Kept>);

    fn backward(self, ops: Ops<Self::State, 13>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (geometry, parameters, kept) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        let (h, found) = B::block_gradient(geometry, &parameters, &kept, gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(found.into_iter().chain([h])) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}
