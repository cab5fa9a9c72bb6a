//! Decodability of every layer at every checkpoint, as a map of colours.

use std::collections::{BTreeMap, BTreeSet};

use plots::PlotError;
use plots::color::viridis;
use plots::grid::{Cell, Grid};
use plots::heat::Scale;
use plots::panel::Axis;
use plots::style::{UNITS, WIDTH, canvas};
use plots::ticks::{compact_number, evenly, labelled, marked, number, ticks};
use run::DecodabilityRow;

use super::emergence::{AtQuery, at_query};

const MOST_LABELS: usize = 9;

/// Draws Concept Decodability (kNN, query's x token): layers from the embedding upwards, checkpoints left to right.
///
/// Columns have one width, whatever the distance of the checkpoints; colour runs from guessing to 1.
///
/// # Errors
/// [`PlotError::Empty`] if `cd` has no row over all concepts.
pub fn heatmap(cd: &[DecodabilityRow]) -> Result<String, PlotError> {
    let decoded = at_query(cd).ok_or(PlotError::Empty { figure: "heatmap", origin: "cd.csv (knn, all concepts)" })?;
    let steps: BTreeSet<usize> = decoded.rows.iter().map(|row| row.step).collect();
    let grid = decodability_grid(&decoded, &steps);
    let top = decoded.rows.iter().map(|row| row.layer).max().unwrap_or(0);
    let height = (30 * top as u32 + 250).clamp(420, 800) * UNITS;
    canvas((WIDTH, height), |area| grid.draw(area, grid.margins()?))
}

/// Decodability at those of the `steps` where it was measured.
pub(super) fn decodability_grid(decoded: &AtQuery<'_>, steps: &BTreeSet<usize>) -> Grid {
    let columns: BTreeMap<usize, usize> = steps.iter().enumerate().map(|(column, step)| (*step, column)).collect();
    let top = decoded.rows.iter().map(|row| row.layer).max().unwrap_or(0);
    let cell = |row: &&DecodabilityRow| {
        let column = *columns.get(&row.step)?;
        Some(Cell { column, row: row.layer, value: row.score, lines: Vec::new() })
    };
    Grid {
        title: format!("Concept Decodability at token {}", decoded.token),
        x: step_axis(steps),
        y: layer_axis(top),
        cells: decoded.rows.iter().filter_map(cell).collect(),
        scale: above_chance(decoded),
        bar: true,
    }
}

/// A cell for every step.
pub(super) fn step_axis(steps: &BTreeSet<usize>) -> Axis {
    let steps: Vec<usize> = steps.iter().copied().collect();
    let marks = marked(&steps, MOST_LABELS)
        .into_iter()
        .map(|column| (column as f64, compact_number(steps[column] as f64)))
        .collect();
    Axis::new("training step of the checkpoint", -0.5..steps.len() as f64 - 0.5, marks)
}

/// A cell for every layer up to `top`.
pub(super) fn layer_axis(top: usize) -> Axis {
    let layers = evenly(top + 1, 13).into_iter().map(|layer| layer as f64).collect();
    Axis::new("layer (0 = embedding)", -0.5..top as f64 + 0.5, labelled(layers, number))
}

/// From guessing to 1, with guessing named.
fn above_chance(decoded: &AtQuery<'_>) -> Scale {
    let mut marks = vec![(decoded.chance, format!("{} chance", decoded.chance_text()))];
    let above = |mark: &(f64, String)| mark.0 > decoded.chance;
    marks.extend(labelled(ticks(&(0.0..1.0), 5), number).into_iter().filter(above));
    Scale { range: decoded.chance..1.0, color: viridis, marks, root: false }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, checkpoints, decodability};
    use super::*;

    #[test]
    fn shows_a_cell_per_layer_and_checkpoint() {
        let steps = checkpoints();
        let bare = heatmap(&decodability(1, &steps[..1])).unwrap().matches("<rect").count();
        let svg = heatmap(&decodability(5, &steps)).unwrap();
        check("heatmap", &svg);
        assert_eq!(svg.matches("<rect").count() - bare, 5 * steps.len() - 1);
        for label in ["token x10", "layer (0 = embedding)", "0.25 chance", "10k"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("heatmap-one", &heatmap(&decodability(1, &[0])).unwrap());
        check("heatmap-deep", &heatmap(&decodability(49, &[0, 5])).unwrap());
        for chance in [0.0, 1.0, f64::NAN, 0.95, 1.0 / 3.0, 1.0 / 12.0] {
            let mut rows = decodability(3, &[0, 10]);
            rows[0].score = f64::NAN;
            rows.iter_mut().for_each(|row| row.chance = chance);
            check(&format!("heatmap-chance-{chance}"), &heatmap(&rows).unwrap());
        }
    }

    #[test]
    fn empty_table_is_named() {
        assert!(matches!(heatmap(&[]), Err(PlotError::Empty { figure: "heatmap", .. })));
    }
}
