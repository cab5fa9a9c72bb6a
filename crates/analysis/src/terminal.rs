//! How the programs speak: results to standard output, everything else to standard error, one exit code a meaning.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use record::RecordError;
use run::{ConfigError, RunError};
use serde::Serialize;

use crate::{ExportError, PlotError};

/// Why a program ends other than well.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for is wrong; nothing was changed. Exit code 2.
    Request(anyhow::Error),
    /// It was right, but went wrong. Exit code 1.
    Run(anyhow::Error),
    /// Asked to stop, and everything is saved; says how to go on. Exit code 130.
    Interrupted(String),
}

impl Failure {
    /// The system did not start so many threads.
    pub fn threads(threads: usize, reason: impl Display) -> Self {
        Self::Run(anyhow::anyhow!("could not start {threads} threads (--threads): {reason}"))
    }
}

/// Writes a result to standard output. A reader that went away is no error.
///
/// # Errors
/// When the result does not arrive, as in a file on a full disk.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Run(anyhow::anyhow!("could not write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a result to standard output as JSON.
///
/// # Errors
/// When it does not arrive.
pub fn say_json(result: &impl Serialize) -> Result<(), Failure> {
    say(&serde_json::to_string_pretty(result).map_err(|error| Failure::Run(error.into()))?)
}

/// Writes a note to standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Notes how work that may take long goes on, but not in its first two seconds and not more often than every two.
pub(crate) fn patient_note() -> impl Fn(&str) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let last = Cell::new(Instant::now());
    move |text| {
        if last.get().elapsed() >= PATIENCE {
            last.set(Instant::now());
            note(text);
        }
    }
}

/// The name of the running program, which is not ours when a task of the user's own is trained.
pub fn program_name() -> String {
    let program = std::env::current_exe().ok();
    program.and_then(|path| Some(path.file_stem()?.to_str()?.to_owned())).unwrap_or_else(|| "emergence".to_owned())
}

/// A path as a POSIX shell takes it for one word.
pub fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:,=@%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Says what went wrong, once, and gives the exit code.
pub fn conclude(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Request(error)) => {
            note(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
        Err(Failure::Run(error)) => {
            note(&format!("error: {error:#}"));
            ExitCode::from(1)
        }
        Err(Failure::Interrupted(message)) => {
            note(&message);
            ExitCode::from(130)
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Request(error.into())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::NotARun { .. }
            | RunError::NoCheckpoint { .. }
            | RunError::NoStart { .. }
            | RunError::MeasuredOtherwise { .. }
            | RunError::Refused { .. } => Self::Request(error.into()),
            _ => Self::Run(error.into()),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::Run(error.into())
    }
}

impl From<PlotError> for Failure {
    fn from(error: PlotError) -> Self {
        Self::Run(error.into())
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::OutOfRange { .. } => Self::Request(error.into()),
            ExportError::Run(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_in_a_shell() {
        let words = ["runs/smoke-0a", "my runs/a", "it's"].map(|path| in_shell(Path::new(path)));
        assert_eq!(words, ["runs/smoke-0a", "'my runs/a'", "'it'\\''s'"]);
    }
}
