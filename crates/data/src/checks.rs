//! Reading fields, and the checks of those that more than one task has.

use serde::de::DeserializeOwned;
use toml::Table;

use crate::TaskError;

/// What a person calls the types of fields.
const TYPES: [(&str, &str); 4] = [
    ("u64", "a whole number of at least 0"),
    ("u32", "a whole number of at least 0"),
    ("usize", "a whole number of at least 0"),
    ("f64", "a number"),
];

/// Reads a table as a type whose fields it must have. `root` is its own path.
///
/// # Errors
/// When a field is missing, unknown or of another type: one line that begins with the path, if there is any.
pub fn read_table<T: DeserializeOwned>(table: Table, root: &str) -> Result<T, String> {
    table.try_into().map_err(|error: toml::de::Error| {
        let mut reason = error.message().to_owned();
        for (name, words) in TYPES {
            reason = reason.replace(&format!("expected {name}"), &format!("expected {words}"));
        }
        // The path of the field is in the text alone.
        let text = error.to_string();
        let path = text.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
        match (root, path) {
            ("", None) => reason,
            ("", Some(path)) => format!("{path}: {reason}"),
            (root, None) => format!("{root}: {reason}"),
            (root, Some(path)) => format!("{root}.{path}: {reason}"),
        }
    })
}

/// Largest accepted width and prompt length: far above any use, far below what overflows.
const MAX_SIZE: usize = 4096;

pub(crate) fn check_size(field: &str, value: usize) -> Result<(), TaskError> {
    if (1..=MAX_SIZE).contains(&value) {
        return Ok(());
    }
    Err(TaskError::out_of_range(field, format!("between 1 and {MAX_SIZE}"), value))
}

pub(crate) fn check_number(
    field: &str,
    range: &str,
    value: f64,
    accept: impl Fn(f64) -> bool,
) -> Result<(), TaskError> {
    if value.is_finite() && accept(value) {
        return Ok(());
    }
    Err(TaskError::out_of_range(field, range, value))
}
