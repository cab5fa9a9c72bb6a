//! The checks of fields that more than one task has.

use crate::TaskError;

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
