//! What the libraries' errors mean for whoever typed the command.

use data::TaskError;
use probe::{ProbeError, SubjectError};
use record::RecordError;
use run::{ConfigError, RunError};
use terminal::{Failure, note};
use thiserror::Error;

use crate::MeasureError;

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
    /// A setting of a measurement was refused.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A run could not be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A table or file could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A task could not make its prompts.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A measurement was refused or failed, or its figures did.
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

impl From<SubjectError> for CliError {
    fn from(error: SubjectError) -> Self {
        Self::Measure(error.into())
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        match error {
            CliError::Failure(failure) => failure,
            error if asks_wrong(&error) => Self::Request(error.into()),
            error => Self::Run(error.into()),
        }
    }
}

impl CliError {
    /// Passes over an error of writing alone, which is noted: what is read from a folder can be told wherever that lies.
    ///
    /// # Errors
    /// Any other.
    pub fn unless_of_writing(result: Result<(), Self>) -> Result<(), Self> {
        match result {
            Err(
                Self::Record(error) | Self::Run(RunError::Record(error)) | Self::Measure(MeasureError::Record(error)),
            ) if error.is_of_writing() => {
                note(&format!("figures and report.html are as they were: {error}"));
                Ok(())
            }
            result => result,
        }
    }
}

/// Whether the request is to blame: it is outside its range, or asks for what is not there.
fn asks_wrong(error: &CliError) -> bool {
    match error {
        CliError::Config(_) | CliError::Probe(_) => true,
        CliError::Run(error) => error.is_request(),
        CliError::Measure(MeasureError::Subject(SubjectError::Unreadable(source))) => {
            source.downcast_ref::<RunError>().is_some_and(RunError::is_request)
        }
        CliError::Task(error)
        | CliError::Measure(MeasureError::Task(error) | MeasureError::Subject(SubjectError::Task(error))) => {
            !matches!(error, TaskError::Generator { .. })
        }
        CliError::Measure(MeasureError::Subject(_) | MeasureError::Probe(_) | MeasureError::OutOfRange { .. }) => true,
        CliError::Record(error) | CliError::Measure(MeasureError::Record(error)) => {
            matches!(error, RecordError::Occupied { .. })
        }
        CliError::Failure(_) | CliError::Measure(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_a_wrong_request_whoever_looked_for_it() {
        let missing = || RunError::NotARun { path: "a".into(), missing: "config.toml", around: None };
        let damaged = || RunError::Untrained { path: "a".into() };
        let through: [fn(RunError) -> CliError; 2] = [CliError::Run, |error| SubjectError::from(error).into()];
        for wrapped in through {
            assert!(matches!(Failure::from(wrapped(missing())), Failure::Request(_)));
            assert!(matches!(Failure::from(wrapped(damaged())), Failure::Run(_)));
        }
    }
}
