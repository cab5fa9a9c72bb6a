//! The commands `lm`: pretrained language models.

mod check;
mod states;
mod work;

use analysis::CliError;
use clap::Subcommand;
use terminal::Failure;

use crate::PretrainedError;

/// The commands on pretrained language models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a folder of weights holds, and what a run with it costs
    Check(check::Check),
    /// Write the states of texts at their last token, and the logits there
    States(states::States),
}

impl Command {
    /// Does what the command says.
    ///
    /// # Errors
    /// When the request is wrong, what it asks for fails, or it is interrupted.
    pub fn run(self) -> Result<(), CliError> {
        match self {
            Self::Check(check) => check.run(),
            Self::States(states) => states.run(),
        }
    }
}

impl From<PretrainedError> for Failure {
    fn from(error: PretrainedError) -> Self {
        match error {
            PretrainedError::Interrupted => Self::Interrupted("interrupted; nothing was written".to_owned()),
            PretrainedError::OutOfRange { .. } | PretrainedError::File { .. } => Self::Request(error.into()),
            PretrainedError::Io { .. } => Self::Run(error.into()),
        }
    }
}
