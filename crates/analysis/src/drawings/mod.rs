//! Figures: pure functions from table rows to SVG text, of the parts that the crate `plots` has.
//!
//! No figure reads a file or a model: it sees the rows a run has written, so an old run can be drawn again by newer
//! code.

mod algorithms;
mod comparison;
mod correlation;
mod emergence;
mod ends;
mod groups;
mod heatmap;
mod lags;
mod maps;
mod pairs;
mod patching;
mod positions;
mod pruning;
mod reading;
mod replacement;
mod separation;
mod sites;
#[cfg(test)]
mod testing;
mod transplant;
mod words;

pub use algorithms::algorithms;
pub use comparison::comparison;
pub use correlation::cd_against_error;
pub use emergence::emergence;
pub(crate) use emergence::query;
pub use ends::ends;
pub use heatmap::heatmap;
pub use lags::lags;
pub use maps::maps;
pub(crate) use pairs::MOST_PAIRED;
pub use pairs::{mean_pairs, pairs};
pub use patching::{patching, patching_sweep, steering};
pub use positions::positions;
pub(crate) use pruning::MOST_PRUNED;
pub use pruning::pruning;
pub use reading::reading;
pub use replacement::replacement;
pub use separation::separation;
pub use sites::sites;
pub use transplant::transplant;
