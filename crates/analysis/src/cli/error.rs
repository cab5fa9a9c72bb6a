//! What the libraries' errors mean for whoever typed the command.

use run::{ConfigError, RunError};
use terminal::Failure;
use thiserror::Error;

use crate::{ExportError, FigureError};

/// Why a command did not end well: what it says itself, or what a library says.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// What the command says itself.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// A configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A run could not be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Tables could not be turned into figures.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// A run could not be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        match error {
            CliError::Failure(failure) => failure,
            CliError::Config(error) => Self::Request(error.into()),
            CliError::Run(error)
            | CliError::Figure(FigureError::Run(error))
            | CliError::Export(ExportError::Run(error)) => of_run(error),
            CliError::Figure(error @ FigureError::Plot(_)) => Self::Run(error.into()),
            CliError::Export(error @ ExportError::OutOfRange { .. }) => Self::Request(error.into()),
        }
    }
}

/// Asking for what is not there is a wrong request; all else went wrong.
fn of_run(error: RunError) -> Failure {
    match error {
        RunError::NotARun { .. } | RunError::NoCheckpoint { .. } | RunError::NoStart { .. } => {
            Failure::Request(error.into())
        }
        _ => Failure::Run(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_a_wrong_request_whoever_looked_for_it() {
        let missing = || RunError::NotARun { path: "a".into(), missing: "config.toml" };
        let damaged = || RunError::Malformed { path: "a".into(), reason: "of a test".to_owned() };
        let through: [fn(RunError) -> CliError; 3] =
            [CliError::Run, |error| FigureError::Run(error).into(), |error| ExportError::Run(error).into()];
        for wrapped in through {
            assert!(matches!(Failure::from(wrapped(missing())), Failure::Request(_)));
            assert!(matches!(Failure::from(wrapped(damaged())), Failure::Run(_)));
        }
    }
}
