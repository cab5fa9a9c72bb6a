//! What each attention head is worth to each concept.

use run::PruningRow;

use super::PlotError;
use super::grid::{Cell, Grid, Scale, cell_axis, draw_in_rows, signed};
use super::style::{UNITS, evenly, step_in_text};

const MOST_PANELS: usize = 8;
const PANELS_A_ROW: usize = 2;

/// Draws the change of error when a head is switched off, layers upwards and heads along, one panel for all concepts
/// together and one for each of up to seven.
///
/// # Units
/// Error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `rows` is empty.
pub fn pruning(rows: &[PruningRow]) -> Result<String, PlotError> {
    let Some(first) = rows.first() else {
        return Err(PlotError::Empty { figure: "pruning", table: "pruning.csv" });
    };
    let there = |row: &&PruningRow| (row.layer, row.head) == (first.layer, first.head);
    let concepts: Vec<&Option<String>> = rows.iter().filter(there).map(|row| &row.concept).collect();
    let concepts = evenly(concepts.len(), MOST_PANELS).into_iter().map(|index| concepts[index]);
    let count = |of: fn(&PruningRow) -> usize| rows.iter().map(of).max().unwrap_or(1);
    let (layers, heads) = (count(|row| row.layer), count(|row| row.head));
    let numbers = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>();
    let scale = Scale::around_zero(rows.iter().map(|row| row.change));
    let panel = |concept: &Option<String>| {
        let cell = |row: &PruningRow| Cell {
            column: row.head - 1,
            row: row.layer - 1,
            value: row.change,
            lines: vec![signed((1000.0 * row.change).round() / 1000.0)],
        };
        Grid {
            title: concept.clone().unwrap_or_else(|| format!("All concepts, step {}", step_in_text(first.step))),
            x: cell_axis("head switched off", &numbers(heads), 16),
            y: cell_axis("layer", &numbers(layers), 13),
            cells: rows.iter().filter(|row| row.concept == *concept).map(cell).collect(),
            scale: scale.clone(),
            bar: true,
        }
    };
    draw_in_rows(concepts.map(panel).collect(), PANELS_A_ROW, (26 * layers as u32 + 130).clamp(210, 420) * UNITS)
}
