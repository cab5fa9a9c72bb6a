//! Why a task was refused.

use thiserror::Error;

/// Why a task could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The `kind` names no registered task.
    #[error("task.kind must be one of {known}, but is {kind:?}")]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// The registered kinds, comma-separated.
        known: String,
    },
    /// The table does not have the shape that the task's constructor reads.
    #[error("{reason}")]
    Shape {
        /// The field's path, and what the parser said.
        reason: String,
    },
    /// A field has a value outside its range.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// Path of the field in the configuration.
        field: String,
        /// The allowed values.
        range: String,
        /// The value found.
        value: String,
    },
}

impl TaskError {
    /// A [`TaskError::OutOfRange`] for the field at `field`.
    pub fn out_of_range(field: impl Into<String>, range: impl Into<String>, value: impl ToString) -> Self {
        Self::OutOfRange { field: field.into(), range: range.into(), value: value.to_string() }
    }
}
