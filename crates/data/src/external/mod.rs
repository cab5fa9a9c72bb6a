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
