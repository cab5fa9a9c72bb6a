//! The checks of fields that more than one task has.

use crate::TaskError;

/// Largest accepted width and prompt length: far above any use, far below what overflows.
const MAX_SIZE: usize = 4096;

pub(crate) fn check_size(field: &str, value: usize) -> Result<(), TaskError> {
    check_count(field, value, MAX_SIZE)
}

pub(crate) fn check_count(field: &str, value: usize, most: usize) -> Result<(), TaskError> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(TaskError::out_of_range(field, format!("between 1 and {most}"), value))
}

/// Errors unless `std`, in units of y, is one whose square f32 has: y is kept and errors are squared there.
pub(crate) fn check_scale(field: &str, std: f64) -> Result<(), TaskError> {
    check_number(field, "a finite number above 0 (1e-15 to 1e15)", std, |v| (1e-15..=1e15).contains(&v))
}

pub(crate) fn check_noise(variance: f64) -> Result<(), TaskError> {
    let range = "a finite number of at least 0 and at most 1e30";
    check_number("task.noise_variance", range, variance, |v| (0.0..=1e30).contains(&v))
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
    Err(TaskError::out_of_range(field, range, format!("{value:?}")))
}
