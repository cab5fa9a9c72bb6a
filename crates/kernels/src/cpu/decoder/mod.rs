//! What stands between the products of a decoder, on slices.

mod attend;
mod gate;
mod normalize;

pub(crate) use attend::{attend, attend_gradient};
pub(crate) use gate::{gate, gate_gradient};
pub(crate) use normalize::{normalize, normalize_gradient};
