//! Prompts that are made elsewhere: read from a file, or drawn by another program.
//!
//! The only part of this crate that opens files and starts programs.

mod answer;
mod archive;
mod arrays;
mod process;
mod worker;

pub use answer::answer;
pub use arrays::{Arrays, ArraysConfig, Division};
pub use process::{Process, ProcessConfig};

/// Which values prompts may have: the square of a larger one, and sums of such squares, would leave the range of f32.
const USABLE: &str = "between -1e15 and 1e15";

fn is_usable(value: f32) -> bool {
    value.abs() <= 1e15
}
