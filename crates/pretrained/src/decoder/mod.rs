//! The decoder: one block for every family, its weights, and where they come from.

mod block;
mod rope;
mod source;
mod weights;

pub(crate) use block::{Behind, Block, Keep, MapPlace, Tune, Untuned, normalize};
pub use source::{DrawnAnew, WeightSource};
pub(crate) use weights::{BlockWeights, Linear, NormWeights, Reader, head_by_head, side_by_side};
