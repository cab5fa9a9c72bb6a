//! What configurations are checked with, and how digests are written.

use crate::ConfigError;

/// Errors with the field, its range and its value unless it is `accepted`.
pub(crate) fn check(
    field: &str,
    range: impl Into<String>,
    value: impl ToString,
    accepted: bool,
) -> Result<(), ConfigError> {
    if accepted {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { field: field.to_owned(), range: range.into(), value: value.to_string() })
}

/// The most letters of a name.
pub(crate) const MOST_LETTERS: usize = 64;

/// Checks the name of a run or a sweep, which is part of a path.
///
/// # Errors
/// When it is empty, long, or has other characters than letters, digits, `-` and `_`.
pub fn check_name(name: &str) -> Result<(), ConfigError> {
    let legible = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let named = (1..=MOST_LETTERS).contains(&name.len()) && name.chars().all(legible);
    check("name", format!("1 to {MOST_LETTERS} letters, digits, '-' or '_'"), format!("{name:?}"), named)
}
