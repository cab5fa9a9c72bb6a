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
    /// No task can be made from what a file holds.
    #[error("{field}: {place} {trouble}")]
    Material {
        /// Path of the field that names the file or its folder.
        field: String,
        /// The file, with the line where there is one to blame.
        place: String,
        /// What is wrong with it: the rest of a sentence that begins with the place.
        trouble: String,
    },
    /// A task would start a program, which nobody allowed.
    #[error("task.command starts the program `{command}`; if you know what it does, allow it with --allow-process")]
    NotAllowed {
        /// The program and its arguments.
        command: String,
    },
    /// A program that draws prompts does not do so.
    #[error("task.command: `{command}` {trouble}")]
    Generator {
        /// The program and its arguments.
        command: String,
        /// What is wrong with it: the rest of a sentence that begins with the program.
        trouble: String,
    },
}

impl TaskError {
    /// A [`TaskError::OutOfRange`] for the field at `field`.
    pub fn out_of_range(field: impl Into<String>, range: impl Into<String>, value: impl ToString) -> Self {
        Self::OutOfRange { field: field.into(), range: range.into(), value: value.to_string() }
    }

    /// A [`TaskError::Material`] for what stands at `place` of the files that `field` names.
    pub(crate) fn material(field: &str, place: impl ToString, trouble: impl Into<String>) -> Self {
        Self::Material { field: field.to_owned(), place: place.to_string(), trouble: trouble.into() }
    }
}
