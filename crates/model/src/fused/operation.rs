//! Fused operations in burn: for flex and for GPUs, and with their gradients for autodiff on top of them.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, NdArray};
#[cfg(feature = "gpu")]
use burn::tensor::backend::DeviceOps;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorData, TensorMetadata, TensorPrimitive};
#[cfg(feature = "gpu")]
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, cubecl::server::ComputeServer, tensor::CubeTensor};
use burn_flex::{Flex, FlexTensor};
use pulp::Arch;

use super::update::{self, AdamStep};
#[cfg(feature = "gpu")]
use crate::gpu;

/// Something that is done in one piece: a function of N tensors, with its gradient written by hand. On a CPU it works on
/// slices.
#[doc(hidden)]
pub trait Operation<const N: usize>: Clone + Debug + Send + Sync + 'static {
    /// What the gradient needs of the forward pass.
    type Kept: Debug + Send + Sync + 'static;
    /// The same on a GPU.
    #[cfg(feature = "gpu")]
    type KeptOnGpu<R: CubeRuntime>: Send + Sync + 'static;

    /// Shape of the result.
    fn shape(&self) -> Vec<usize>;

    /// The result; what the gradient needs is complete only if it is to be kept.
    fn forward(&self, arch: Arch, inputs: [&[f32]; N], keep: bool) -> (Vec<f32>, Self::Kept);

    /// The gradient of every input from that of the result; of an input that is always a constant, none.
    fn backward(&self, arch: Arch, inputs: [&[f32]; N], kept: &Self::Kept, gradient: &[f32]) -> [Option<Vec<f32>>; N];

    /// The result on a GPU, and what the gradient needs.
    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: CubeRuntime>(&self, inputs: [CubeTensor<R>; N]) -> (CubeTensor<R>, Self::KeptOnGpu<R>);

    /// As [`backward`](Self::backward), on a GPU.
    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: CubeRuntime>(
        &self,
        inputs: [CubeTensor<R>; N],
        kept: &Self::KeptOnGpu<R>,
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; N];
}

/// What the gradient of an operation needs, of whichever operation and backend.
pub(crate) type AnyKept = Arc<dyn Any + Send + Sync>;

/// A backend that may do whole parts of the model as one operation.
///
/// Implement it for a backend of your own with an empty body: the model is then made of ordinary tensor operations.
pub trait FusedBackend: Backend {
    /// Whether [`operate`](Self::operate) exists.
    const FUSED: bool = false;
    /// Whether what autodiff needs of it exists.
    const FUSED_GRADIENT: bool = false;
    /// Whether its products run at [`products_per_second`](crate::products_per_second).
    const HOST_PRODUCTS: bool = false;
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
    ) -> (FloatTensor<Self>, AnyKept) {
        unreachable!("asked only where FUSED_GRADIENT is set")
    }

    /// The gradients of the inputs from that of the result, but for constants.
    #[doc(hidden)]
    fn gradient<const N: usize, O: Operation<N>>(
        _: &O,
        _: &[FloatTensor<Self>; N],
        _: &AnyKept,
        _: FloatTensor<Self>,
    ) -> [Option<FloatTensor<Self>>; N] {
        unreachable!("asked only where FUSED_GRADIENT is set")
    }

    /// The sum of gradients of the same parameter, in their order.
    fn add_parts<const D: usize>(parts: Vec<Tensor<Self, D>>) -> Tensor<Self, D> {
        parts.into_iter().reduce(|sum, part| sum + part).expect("a batch has at least one part")
    }

    /// The sum of the squares of all elements, `[1]`.
    fn squares(tensors: Vec<Tensor<Self, 1>>) -> Tensor<Self, 1> {
        Tensor::cat(tensors.into_iter().map(|tensor| (tensor.clone() * tensor).sum()).collect(), 0).sum()
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

/// A step of Adam for many parameters.
#[derive(Debug)]
pub struct Updates<B: Backend> {
    step: AdamStep,
    factor: Option<Tensor<B, 1>>,
    /// Parameters with their two moments, and their gradients: a GPU moves many with one launch.
    #[cfg(feature = "gpu")]
    waiting: Vec<([FloatTensor<B>; 3], FloatTensor<B>)>,
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

impl FusedBackend for Flex {
    const FUSED: bool = true;
    const FUSED_GRADIENT: bool = true;
    const HOST_PRODUCTS: bool = true;

    fn operate<const N: usize>(operation: impl Operation<N>, inputs: [FlexTensor; N]) -> FlexTensor {
        on_slices(&operation, &inputs, false).0
    }

    fn operate_kept<const N: usize, O: Operation<N>>(operation: &O, inputs: &[FlexTensor; N]) -> (FlexTensor, AnyKept) {
        let (out, kept) = on_slices(operation, inputs, true);
        (out, Arc::new(kept))
    }

    fn gradient<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[FlexTensor; N],
        kept: &AnyKept,
        gradient: FlexTensor,
    ) -> [Option<FlexTensor>; N] {
        let kept = kept.downcast_ref().expect("kept by the same operation");
        let (contiguous, gradient) = (inputs.each_ref().map(FlexTensor::to_contiguous), gradient.to_contiguous());
        let found = operation.backward(Arch::new(), contiguous.each_ref().map(values), kept, values(&gradient));
        let mut shapes = inputs.iter().map(|input| input.shape().to_vec());
        found.map(|values| {
            let shape = shapes.next().expect("there are as many gradients as inputs");
            values.map(|values| tensor(values, shape))
        })
    }

    fn add_parts<const D: usize>(parts: Vec<Tensor<Self, D>>) -> Tensor<Self, D> {
        let mut parts = parts.into_iter().map(|part| primitive(part).to_contiguous());
        let mut sum = parts.next().expect("a batch has at least one part");
        let parts: Vec<_> = parts.collect();
        update::add_parts(Arch::new(), values_mut(&mut sum), &parts.iter().map(values).collect::<Vec<_>>());
        from_primitive(sum)
    }

    fn squares(tensors: Vec<Tensor<Self, 1>>) -> Tensor<Self, 1> {
        let squares = |part: Tensor<Self, 1>| update::squares(Arch::new(), values(&primitive(part).to_contiguous()));
        let squares: Vec<f32> = tensors.into_iter().map(squares).collect();
        let len = squares.len();
        from_primitive::<1>(tensor(squares, vec![len])).sum()
    }

    fn adam<const D: usize>(
        updates: &mut Updates<Self>,
        state: [Tensor<Self, D>; 3],
        gradient: Tensor<Self, D>,
    ) -> [Tensor<Self, D>; 3] {
        let factor = updates.factor.as_ref().map_or(1.0, |factor| values(&primitive(factor.clone()))[0]);
        let [mut value, mut first, mut second] = state.map(|tensor| primitive(tensor).to_contiguous());
        let state = [&mut value, &mut first, &mut second].map(values_mut);
        update::adam(Arch::new(), updates.step, factor, state, values(&primitive(gradient).to_contiguous()));
        [value, first, second].map(from_primitive)
    }
}

#[cfg(feature = "gpu")]
impl<R, BT> FusedBackend for CubeBackend<R, f32, i32, BT>
where
    R: CubeRuntime<Device: DeviceOps, Server: ComputeServer>,
    BT: BoolElement,
{
    const FUSED: bool = true;
    const FUSED_GRADIENT: bool = true;
    const WIDE_PRODUCTS: bool = gpu::WIDE_PRODUCTS;

    fn operate<const N: usize>(operation: impl Operation<N>, inputs: [CubeTensor<R>; N]) -> CubeTensor<R> {
        operation.forward_on_gpu(inputs).0
    }

    fn operate_kept<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[CubeTensor<R>; N],
    ) -> (CubeTensor<R>, AnyKept) {
        let (out, kept) = operation.forward_on_gpu(inputs.clone());
        (out, Arc::new(kept))
    }

    fn gradient<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[CubeTensor<R>; N],
        kept: &AnyKept,
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; N] {
        let kept = kept.downcast_ref().expect("kept by the same operation");
        operation.backward_on_gpu(inputs.clone(), kept, gradient)
    }

    fn squares(tensors: Vec<Tensor<Self, 1>>) -> Tensor<Self, 1> {
        let tensors = tensors.into_iter().map(|tensor| tensor.into_primitive().tensor()).collect();
        Tensor::<Self, 1>::from_primitive(TensorPrimitive::Float(gpu::squares(tensors)))
    }

    fn adam<const D: usize>(
        updates: &mut Updates<Self>,
        state: [Tensor<Self, D>; 3],
        gradient: Tensor<Self, D>,
    ) -> [Tensor<Self, D>; 3] {
        let state = state.map(|tensor| gpu::own(tensor.into_primitive().tensor()));
        updates.waiting.push((state.clone(), gradient.into_primitive().tensor()));
        state.map(|tensor| Tensor::from_primitive(TensorPrimitive::Float(tensor)))
    }

    fn finish(Updates { step, factor, waiting }: Updates<Self>) {
        gpu::adam(step, factor.map(|factor| factor.into_primitive().tensor()), waiting);
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
        let tracked = inputs.each_ref().map(|input| (!input.node.requirement.is_none()).then_some(input.node.id));
        // Parameters have order 0.
        let order = |input: &&FloatTensor<Self>| (!input.node.requirement.is_none(), input.node.order);
        debug_assert!(
            inputs.iter().filter(|input| order(input) > (true, 0)).count() < 2,
            "two inputs are no parameters"
        );
        let parent = inputs.iter().max_by_key(order).expect("an operation has inputs").node.clone();
        let inputs = inputs.map(|input| input.primitive);
        match Gradient::<_, N>(operation.clone()).prepare::<C>([parent]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(B::operate(operation, inputs)),
            OpsKind::Tracked(prepared) => {
                let (out, kept) = B::operate_kept(&operation, &inputs);
                prepared.finish((inputs, tracked, kept), out)
            }
        }
    }
}

/// The backward pass of an operation. Its parent is the one input that comes from another operation, or some parameter
/// where there is none. To all other parameters, which no gradient goes beyond, it gives theirs itself: a graph that has
/// every parameter would cost the host of a GPU much of a step.
#[derive(Debug)]
struct Gradient<O, const N: usize>(O);

impl<B: FusedBackend, O: Operation<N>, const N: usize> Backward<B, 1> for Gradient<O, N> {
    type State = ([FloatTensor<B>; N], [Option<NodeId>; N], AnyKept);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (inputs, tracked, kept) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        for (input, gradient) in tracked.into_iter().zip(B::gradient(&self.0, &inputs, &kept, gradient)) {
            if let (Some(input), Some(gradient)) = (input, gradient) {
                gradients.register::<B>(input, gradient);
            }
        }
    }
}
