//! Options that several measurements have.

use clap::Args;
use serde::Serialize;

/// None.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct NoOptions {}

/// Which checkpoints.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct Steps {
    /// Checkpoints to read, as 0,500,1000 [default: four from the first to the last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    pub step: Vec<usize>,
}

/// Which checkpoint.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct OneStep {
    /// Checkpoint to read [default: the last]
    #[arg(long, value_parser = terminal::whole::<usize>(0, None))]
    pub step: Option<usize>,
}
