//! Operations in one piece in autodiff's graph.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::{AnySaved, FusedKernels, Inputs, Kernels, Operation, Ordinary, Recorded, Way};

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    type Way = <B::Way as Way<B>>::Trained<C>;
    const F64_PRODUCTS: bool = B::F64_PRODUCTS;
}

/// Gradients of gradients are left to ordinary operations.
impl<B: FusedKernels, C: CheckpointStrategy> Way<Autodiff<B, C>> for Recorded {
    type Trained<D: CheckpointStrategy> = Ordinary;

    fn run<I, O: Operation<N>, const N: usize, const D: usize>(
        input: I,
        fused: impl FnOnce(I) -> (O, O::Inputs<FloatTensor<Autodiff<B, C>>>),
        _: impl FnOnce(I) -> Tensor<Autodiff<B, C>, D>,
    ) -> Tensor<Autodiff<B, C>, D> {
        let (operation, inputs) = fused(input);
        Tensor::from_primitive(TensorPrimitive::Float(record::<B, C, O, N>(operation, inputs.into_array())))
    }
}

fn record<B: FusedKernels, C: CheckpointStrategy, O: Operation<N>, const N: usize>(
    operation: O,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
) -> FloatTensor<Autodiff<B, C>> {
    let tracked = inputs.each_ref().map(|input| (!input.node.requirement.is_none()).then_some(input.node.id));
    // Parameters have order 0.
    let order = |input: &&FloatTensor<Autodiff<B, C>>| (!input.node.requirement.is_none(), input.node.order);
    debug_assert!(inputs.iter().filter(|input| order(input) > (true, 0)).count() < 2, "two inputs are no parameters");
    let parent = inputs.iter().max_by_key(order).expect("an operation has inputs").node.clone();
    let inputs = inputs.map(|input| input.primitive);
    match Gradient::<_, N>(operation.clone()).prepare::<C>([parent]).compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => prepared.finish(B::operate(&operation, inputs)),
        OpsKind::Tracked(prepared) => {
            let (out, saved) = B::operate_saved(&operation, &inputs);
            prepared.finish((inputs, tracked, saved), out)
        }
    }
}

/// The backward pass of an operation. Its parent is the one input that comes from another operation, or some parameter
/// where there is none. To all other parameters, which no gradient goes beyond, it gives theirs itself: a graph that has
/// every parameter would cost the host of a GPU much of a step.
#[derive(Debug)]
struct Gradient<O, const N: usize>(O);

impl<B: FusedKernels, O: Operation<N>, const N: usize> Backward<B, 1> for Gradient<O, N> {
    type State = ([FloatTensor<B>; N], [Option<NodeId>; N], AnySaved);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (inputs, tracked, saved) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        for (input, gradient) in tracked.into_iter().zip(B::gradient(&self.0, &inputs, &saved, gradient)) {
            if let (Some(input), Some(gradient)) = (input, gradient) {
                gradients.register::<B>(input, gradient);
            }
        }
    }
}
