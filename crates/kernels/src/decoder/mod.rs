//! What a decoder of a pretrained language model consists of, each part as one operation.
//!
//! The choice of what follows what is the caller's: families differ in it. An operation here has one tensor that may have a
//! gradient, the residual stream's; weights and parameters of norms are constants, because tuning goes through low-rank
//! adapters beside the products. On a GPU the operations are made of burn's own ones.

mod attend;
mod gate;
mod normalize;
mod product;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

pub use attend::{Attend, Rope, Span};
pub use gate::{Activation, Gate};
pub use normalize::{Normalize, NormalizeInputs};
pub use product::{Product, ProductInputs};

use crate::{Inputs, Kernels, Operation, Way};

/// An operation on matrices that is also written in ordinary ones.
pub(crate) trait Described<const N: usize>: Operation<N> {
    /// The same in ordinary operations; the specification.
    fn ordinary<B: Backend>(&self, inputs: [Tensor<B, 2>; N]) -> Tensor<B, 2>;
}

/// The result of an operation on a backend, in one piece where that has it.
fn apply<B: Kernels, O: Described<N>, const N: usize>(operation: O, inputs: [Tensor<B, 2>; N]) -> Tensor<B, 2> {
    let described = operation.clone();
    B::Way::run(
        inputs,
        |inputs| (operation, Inputs::from_array(inputs.map(|input| input.into_primitive().tensor()))),
        |inputs| described.ordinary(inputs),
    )
}

#[cfg(test)]
mod tests;
