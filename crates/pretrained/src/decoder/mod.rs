//! The decoder: one block for every family, its weights, and where they come from.

mod block;
mod rope;
mod source;
mod weights;

pub(crate) use block::{Behind, Block, Untuned, normalize};
pub use source::{DrawnAnew, WeightSource};
pub(crate) use weights::{Reader, product};
