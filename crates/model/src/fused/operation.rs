//! Fused operations in burn: for flex, and with their gradients for autodiff on top of it.

use std::fmt::Debug;
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

use super::update::{self, AdamStep};

/// Something that a CPU does in one piece, on slices: a function of N tensors, with its gradient written by hand.
#[doc(hidden)]
pub trait Operation<const N: usize>: Clone + Debug + Send + Sync + 'static {
    /// What the gradient needs of the forward pass.
    type Kept: Debug + Send + Sync;

    /// Shape of the result.
    fn shape(&self) -> Vec<usize>;

    /// The result; what the gradient needs is complete only if it is to be kept.
    fn forward(&self, arch: Arch, inputs: [&[f32]; N], keep: bool) -> (Vec<f32>, Self::Kept);

    /// The gradient of every input from that of the result.
    fn backward(&self, arch: Arch, inputs: [&[f32]; N], kept: &Self::Kept, gradient: &[f32]) -> [Vec<f32>; N];
}

/// A backend that may do whole parts of the model as one operation.
///
/// Implement it for a backend of your own with an empty body: the model is then made of ordinary tensor operations.
pub trait FusedBackend: Backend {
    /// Whether [`operate`](Self::operate) exists.
    const FUSED: bool = false;
    /// Whether what autodiff needs of it exists.
    const FUSED_GRADIENT: bool = false;
    /// Whether products of the ordinary operations are taken in f64.
    const WIDE_PRODUCTS: bool = false;

    /// The result of an operation.
    #[doc(hidden)]
    fn operate<const N: usize>(_: impl Operation<N>, _: [FloatTensor<Self>; N]) -> FloatTensor<Self> {
        unreachable!("asked only where FUSED is set")
    }

    /// [`operate`](Self::operate), and what its gradient needs.
    #[doc(hidden)]
    fn operate_kept<const N: usize, O: Operation<N>>(
        _: &O,
        _: &[FloatTensor<Self>; N],
    ) -> (FloatTensor<Self>, O::Kept) {
        unreachable!("asked only where FUSED_GRADIENT is set")
    }

    /// The gradients of the inputs from that of the result.
    #[doc(hidden)]
    fn gradient<const N: usize, O: Operation<N>>(
        _: &O,
        _: &[FloatTensor<Self>; N],
        _: &O::Kept,
        _: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; N] {
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

/// The result of an operation as a tensor, on a backend that is [`FusedBackend::FUSED`].
pub(crate) fn operate<B: FusedBackend, const N: usize, const D: usize>(
    operation: impl Operation<N>,
    inputs: [FloatTensor<B>; N],
) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(B::operate(operation, inputs)))
}

/// A backend with gradients, whose inner backend runs what is trained.
pub trait TrainingBackend: AutodiffBackend<InnerBackend: FusedBackend> + FusedBackend {}

impl<B: AutodiffBackend<InnerBackend: FusedBackend> + FusedBackend> TrainingBackend for B {}

impl FusedBackend for NdArray {}

#[cfg(feature = "cuda-plain")]
impl FusedBackend for burn::backend::Cuda {
    const WIDE_PRODUCTS: bool = cfg!(feature = "cuda-f64");
}

impl FusedBackend for Flex {
    const FUSED: bool = true;
    const FUSED_GRADIENT: bool = true;

    fn operate<const N: usize>(operation: impl Operation<N>, inputs: [FlexTensor; N]) -> FlexTensor {
        on_slices(&operation, &inputs, false).0
    }

    fn operate_kept<const N: usize, O: Operation<N>>(operation: &O, inputs: &[FlexTensor; N]) -> (FlexTensor, O::Kept) {
        on_slices(operation, inputs, true)
    }

    fn gradient<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[FlexTensor; N],
        kept: &O::Kept,
        gradient: FlexTensor,
    ) -> [FlexTensor; N] {
        let (contiguous, gradient) = (inputs.each_ref().map(FlexTensor::to_contiguous), gradient.to_contiguous());
        let found = operation.backward(Arch::new(), contiguous.each_ref().map(values), kept, values(&gradient));
        let mut shapes = inputs.iter().map(|input| input.shape().to_vec());
        found.map(|values| tensor(values, shapes.next().expect("there are as many gradients as inputs")))
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

fn on_slices<const N: usize, O: Operation<N>>(
    operation: &O,
    inputs: &[FlexTensor; N],
    keep: bool,
) -> (FlexTensor, O::Kept) {
    let contiguous = inputs.each_ref().map(FlexTensor::to_contiguous);
    let (out, kept) = operation.forward(Arch::new(), contiguous.each_ref().map(values), keep);
    (tensor(out, operation.shape()), kept)
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
    const WIDE_PRODUCTS: bool = B::WIDE_PRODUCTS;

    fn operate<const N: usize>(operation: impl Operation<N>, inputs: [FloatTensor<Self>; N]) -> FloatTensor<Self> {
        let parents = inputs.each_ref().map(|parent| parent.node.clone());
        let inputs = inputs.map(|input| input.primitive);
        match Gradient(operation.clone()).prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(B::operate(operation, inputs)),
            OpsKind::Tracked(prepared) => {
                let (out, kept) = B::operate_kept(&operation, &inputs);
                prepared.finish((inputs, Arc::new(kept)), out)
            }
        }
    }
}

/// The backward pass of an operation; its parents are the inputs.
#[derive(Debug)]
struct Gradient<O>(O);

impl<B: FusedBackend, O: Operation<N>, const N: usize> Backward<B, N> for Gradient<O> {
    type State = ([FloatTensor<B>; N], Arc<O::Kept>);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (inputs, kept) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        for (parent, gradient) in ops.parents.into_iter().zip(B::gradient(&self.0, &inputs, &kept, gradient)) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}
