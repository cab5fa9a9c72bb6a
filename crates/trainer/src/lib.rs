//! The training loop and the main command line.
//!
//! [`train`] is the loop; what is measured on the way is up to the [`Observers`] handed to it. [`bench()`] times its step.
//! [`command_line`] is the program `trainer`, for the tasks of any registry.

mod batches;
mod bench;
mod checkpoints;
mod cli;
mod gradients;
mod muon;
mod observers;
mod optimizer;
mod progress;
mod rows;
mod train;

pub use bench::{BenchPlan, BenchResult, bench};
pub use cli::{
    Among, Command, Contents, Finetune, Job, Runs, State, Status, Sweep, command_line, complete, runs_below,
};
pub use gradients::{Gradients, gradients};
pub use observers::{
    CheckpointObserver, EarlyEnd, LiveMeasurements, LiveReport, Observers, Origin, Provenance, StepObserver,
    TrainingTable,
};
pub use optimizer::Optimizer;
pub use progress::{Headline, Progress};
pub use rows::TrainingRow;
pub use terminal::Stop;
pub use train::{Outcome, Parallelism, TrainError, train};
