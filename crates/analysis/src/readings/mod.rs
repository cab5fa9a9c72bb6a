//! Further questions to the hidden states of a finished run, one a file and a command.

mod maps;
mod positions;
mod sensitivity;
mod separation;
mod sites;

use run::{Experiment, RunDir, RunError};

use crate::stages::spread;

pub use maps::{MapPlan, write_map};
pub use positions::write_positions;
pub use sensitivity::write_sensitivity;
pub use separation::{Separation, measure_separation, write_separation};
pub use sites::write_sites;

/// Checkpoints, and layers, looked at where a command is not told which.
const MILESTONES: usize = 4;

/// The steps asked for, or a few from the first to the last.
fn milestones(run: &RunDir, experiment: &Experiment, asked: &[usize]) -> Result<Vec<usize>, RunError> {
    if !asked.is_empty() {
        return Ok(asked.to_vec());
    }
    Ok(spread(&run.scheduled_steps(experiment)?, MILESTONES))
}
