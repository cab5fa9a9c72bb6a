//! Why a folder of weights, a text or a request was refused.

use std::io;
use std::path::{Path, PathBuf};

use record::RecordError;
use run::ConfigError;
use thiserror::Error;

/// Why a folder of weights, a text or a request was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PretrainedError {
    /// A field or option has a value outside its range.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// Its path.
        field: String,
        /// The allowed values.
        range: String,
        /// The value found.
        value: String,
    },
    /// A setting was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file is not what it must be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, in one sentence.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("could not {action} {}: {error}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A table or checkpoint could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The prompts could not be made.
    #[error(transparent)]
    Task(#[from] data::TaskError),
    /// The loss of tuning is not finite any more.
    #[error("the loss is not finite after step {step} ({loss}); see finetune.learning_rate")]
    NonFinite {
        /// Steps taken.
        step: usize,
        /// The loss that the last of them began with.
        loss: f64,
    },
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl PretrainedError {
    /// A value outside its range.
    pub(crate) fn out_of_range(field: impl Into<String>, range: impl Into<String>, value: impl ToString) -> Self {
        Self::OutOfRange { field: field.into(), range: range.into(), value: value.to_string() }
    }

    /// A file that is not what it must be.
    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), reason: reason.into() }
    }

    /// A file that the system refuses.
    pub(crate) fn io(action: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), error }
    }
}
