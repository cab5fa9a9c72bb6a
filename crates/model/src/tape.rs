//! Gradients without a graph, where a model is a chain of operations in one piece.
//!
//! Every backward pass of burn's autodiff waits for all others of the process, whatever they are of, and keeps a book of every
//! parameter. A chain needs neither: its operations are gone through in turn.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use kernels::{Inputs, Kernels, Operation, Way};

use crate::Model;

/// What an operation is computed from: a parameter, a constant, or a state, which another operation made.
pub(crate) struct Operand<B: Backend> {
    pub(crate) tensor: FloatTensor<B>,
    parameter: Option<ParamId>,
}

impl<B: Backend> Operand<B> {
    pub(crate) fn parameter<const D: usize>(parameter: &Param<Tensor<B, D>>) -> Self {
        Self { parameter: Some(parameter.id), ..Self::given(parameter.val()) }
    }

    pub(crate) fn given<const D: usize>(tensor: Tensor<B, D>) -> Self {
        Self { tensor: tensor.into_primitive().tensor(), parameter: None }
    }
}

fn tensors<B: Backend, I: Inputs<FloatTensor<B>, N>, const N: usize>(operands: [Operand<B>; N]) -> I {
    I::from_array(operands.map(|operand| operand.tensor))
}

/// As [`Way::run`], of operands.
pub(crate) fn run<B: Kernels, I, O: Operation<N>, const N: usize, const D: usize>(
    input: I,
    fused: impl FnOnce(I) -> (O, O::Inputs<Operand<B>>),
    ordinary: impl FnOnce(I) -> Tensor<B, D>,
) -> Tensor<B, D> {
    let fused = |input| {
        let (operation, operands) = fused(input);
        (operation, tensors(operands.into_array()))
    };
    B::Way::run(input, fused, ordinary)
}

/// The way back through operations of which each was applied to the result of the one before.
pub(crate) struct Tape<B: Backend>(Vec<Step<B>>);

/// From the gradient of a result to that of the state it was made from, leaving those of parameters on the way.
type Step<B> = Box<dyn FnOnce(FloatTensor<B>, &mut Found<B>) -> Option<FloatTensor<B>>>;

type Found<B> = HashMap<ParamId, FloatTensor<B>>;

impl<B: Kernels> Tape<B> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// The result of an operation, whose parameters get gradients if they are free; none where it is not done in one piece.
    pub(crate) fn run<O: Operation<N>, const N: usize, const D: usize>(
        &mut self,
        (operation, operands): (O, O::Inputs<Operand<B>>),
        free: bool,
    ) -> Option<Tensor<B, D>> {
        let operands = operands.into_array();
        let parameters = operands.each_ref().map(|operand| operand.parameter);
        let (result, back) = B::Way::there_and_back(operation, tensors(operands))?;
        // Below the first free parameter nobody asks for a gradient.
        if free || !self.0.is_empty() {
            self.0.push(Box::new(move |gradient, found| {
                let mut of_state = None;
                for (parameter, gradient) in parameters.into_iter().zip(back(gradient)) {
                    match parameter {
                        Some(parameter) if free => found.extend(gradient.map(|gradient| (parameter, gradient))),
                        Some(_) => {}
                        None => of_state = of_state.or(gradient),
                    }
                }
                of_state
            }));
        }
        Some(Tensor::from_primitive(TensorPrimitive::Float(result)))
    }

    /// Of the last result, a single number, by every free parameter of `model`.
    pub(crate) fn gradients(self, model: &Model<B>, device: &B::Device) -> GradientsParams {
        let mut found = Found::<B>::new();
        let mut gradient = Some(Tensor::<B, 1>::ones([1], device).into_primitive().tensor());
        for step in self.0.into_iter().rev() {
            gradient = step(gradient.expect("every operation but the first is applied to a state"), &mut found);
        }
        let mut register = Register { found, gradients: GradientsParams::new() };
        model.visit(&mut register);
        register.gradients
    }
}

/// Gives gradients the rank of their parameters.
struct Register<B: Backend> {
    found: Found<B>,
    gradients: GradientsParams,
}

impl<B: Backend> ModuleVisitor<B> for Register<B> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.found.remove(&parameter.id) {
            let gradient = Tensor::<B, D>::from_primitive(TensorPrimitive::Float(gradient));
            self.gradients.register(parameter.id, gradient);
        }
    }
}
