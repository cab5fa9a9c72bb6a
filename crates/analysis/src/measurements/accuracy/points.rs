//! Accuracy and CD of the same concepts, demonstrations and steps.

use std::collections::BTreeSet;

use super::AccuracyRow;
use crate::measurements::decodability::at_best_layer;
use crate::measurements::shots::shots_before;
use crate::show::Shown;
use crate::{DecodabilityRow, MeasureError};

/// A concept, or all of them, after some demonstrations and steps.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// Accuracy.
    pub(super) answers: AccuracyRow,
    /// CD at the layer that is best over all concepts.
    pub(super) read: DecodabilityRow,
}

/// Every point that has both.
pub(super) fn points(shown: &Shown<'_>) -> Result<Vec<Point>, MeasureError> {
    let read = at_best_layer(&shown.rows()?, &shown.rows()?);
    let answers: Vec<AccuracyRow> = shown.rows()?;
    let point = |answers: AccuracyRow| {
        let same = |row: &&DecodabilityRow| {
            (row.step, shots_before(row.token), &row.concept) == (answers.step, answers.shots, &answers.concept)
        };
        let read = read.iter().find(same)?.clone();
        Some(Point { answers, read })
    };
    Ok(answers.into_iter().filter_map(point).collect())
}

/// The numbers of demonstrations that there are points of, ascending.
pub(super) fn shots_among(points: &[Point]) -> BTreeSet<usize> {
    points.iter().map(|point| point.answers.shots).collect()
}

/// The steps that there are points of, ascending.
pub(super) fn steps_among(points: &[Point]) -> BTreeSet<usize> {
    points.iter().map(|point| point.answers.step).collect()
}

/// Planted ones.
#[cfg(test)]
pub(super) fn planted(shots: &[usize], steps: &[usize]) -> Vec<Point> {
    let rows = crate::planted::text_rows(shots, steps);
    rows.into_iter().map(|(read, answers)| Point { answers, read }).collect()
}
