//! Why a program ends other than well, and the exit code that says so.

use std::fmt::Display;
use std::process::ExitCode;

use thiserror::Error;

use crate::note;

/// The exit code of a program that was asked to stop.
pub(crate) const INTERRUPTED: i32 = 130;

/// Why a program ends other than well.
#[derive(Debug, Error)]
pub enum Failure {
    /// What was asked for is wrong; nothing was changed. Exit code 2.
    #[error("{0:#}")]
    Request(anyhow::Error),
    /// It was right, but went wrong. Exit code 1.
    #[error("{0:#}")]
    Run(anyhow::Error),
    /// Asked to stop, and everything is saved; says how to go on. Exit code 130.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// The system did not start so many threads.
    pub fn threads(threads: usize, reason: impl Display) -> Self {
        Self::Run(anyhow::anyhow!("could not start {threads} threads (--threads): {reason}"))
    }
}

/// Says what went wrong, once, and gives the exit code.
pub fn conclude(result: Result<(), impl Into<Failure>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let failure: Failure = error.into();
    let (code, kind) = match failure {
        Failure::Request(_) => (2, "error: "),
        Failure::Run(_) => (1, "error: "),
        Failure::Interrupted(_) => (INTERRUPTED as u8, ""),
    };
    note(&format!("{kind}{failure}"));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn every_failure_has_its_code() {
        let failures = [
            (Failure::Request(anyhow::anyhow!("of a test")), 2),
            (Failure::threads(3, "of a test"), 1),
            (Failure::Interrupted("of a test".to_owned()), 130),
        ];
        for (failure, code) in failures {
            assert_eq!(conclude(Err(failure)), ExitCode::from(code));
        }
        assert_eq!(conclude(Ok::<(), Failure>(())), ExitCode::SUCCESS);
    }

    #[test]
    fn a_cause_stands_behind_what_it_caused() {
        let caused = Err::<(), _>(anyhow::anyhow!("the disk is full")).context("could not write");
        assert_eq!(Failure::Run(caused.unwrap_err()).to_string(), "could not write: the disk is full");
    }
}
