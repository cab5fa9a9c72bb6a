//! Who was missing? Errors of models whose early layers are of one checkpoint and whose late layers are of another.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::color::{color_of, viridis};
use plots::grid::{Cell, Grid};
use plots::heat::Scale;
use plots::panel::{Axis, Curve, Panel};
use plots::style::{INK, UNITS, WIDTH, canvas};
use plots::ticks::{cell_axis, compact_number, extent, labelled, log_axis, log_ticks, number, ticks};

use super::ExchangeRow;
use crate::MeasureError;
use crate::show::{Section, Shown};

/// Draws the error over all concepts for every pair of checkpoints (above): late layers along, early layers upwards; and
/// along training (below) beside the error of each checkpoint itself that with the early or the late layers of the last
/// one in their place. Whichever of the two lowers the error was missing.
///
/// # Units
/// Error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no row over all concepts.
fn transplant(rows: &[ExchangeRow]) -> Result<String, PlotError> {
    let rows: Vec<&ExchangeRow> = rows.iter().filter(|row| row.concept.is_none()).collect();
    let steps: Vec<usize> = rows.iter().map(|row| row.early_step).collect::<BTreeSet<_>>().into_iter().collect();
    let (Some(first), Some(&last)) = (rows.first(), steps.last()) else {
        return Err(PlotError::Empty { figure: "transplant", origin: "transplant.csv (all concepts)" });
    };
    let place = |step: usize| steps.iter().position(|known| *known == step).unwrap_or(0);
    let cell = |row: &&ExchangeRow| Cell {
        column: place(row.late_step),
        row: place(row.early_step),
        value: row.error.log10(),
        lines: vec![format!("{:.2}", row.error)],
    };
    let names: Vec<String> = steps.iter().map(|step| compact_number(*step as f64)).collect();
    let grid = Grid {
        title: format!("Error / E[y²] with layers up to {} from another checkpoint", first.layer.0),
        x: cell_axis("training step of the late layers", &names, names.len()),
        y: cell_axis("step of the early layers", &names, names.len()),
        cells: rows.iter().map(cell).collect(),
        scale: on_log_scale(&rows),
        bar: true,
    };
    let panel = repair_panel(&rows, last);
    let upper = (40 * steps.len() as u32 + 130).clamp(250, 600) * UNITS;
    canvas((WIDTH, upper + 380 * UNITS), |area| {
        let (above, below) = area.split_vertically(upper);
        let margins = grid.margins()?.max(panel.margins()?);
        grid.draw(&above, margins)?;
        panel.draw(&below, margins)
    })
}

/// Logarithms of errors as colours, named by the errors.
fn on_log_scale(rows: &[&ExchangeRow]) -> Scale {
    let range = extent(rows.iter().map(|row| row.error.log10())).unwrap_or(0.0..1.0);
    let marks = log_ticks(&range).into_iter().map(|error| (error.log10(), number(error))).collect();
    Scale { range, color: viridis, marks, root: false }
}

/// The error of every checkpoint, and with half of it taken from the last one.
fn repair_panel(rows: &[&ExchangeRow], last: usize) -> Panel {
    let (y, scale) = log_axis(
        "squared error / E[y²]",
        &extent(rows.iter().flat_map(|row| [row.lo, row.error, row.hi])).unwrap_or(0.0..1.0),
    );
    let line = |name: &str, color, chosen: &dyn Fn(&ExchangeRow) -> Option<usize>| {
        let chosen = || rows.iter().filter_map(|row| Some((chosen(row)? as f64, row)));
        Curve::new(name, color, chosen().map(|(step, row)| (step, scale(row.error))))
            .with_band(chosen().map(|(step, row)| (step, scale(row.lo)..scale(row.hi))))
    };
    let curves = vec![
        line("late layers from the last", color_of(0), &|row| (row.late_step == last).then_some(row.early_step)),
        line("early layers from the last", color_of(1), &|row| (row.early_step == last).then_some(row.late_step)),
        line("as it was", INK, &|row| (row.early_step == row.late_step).then_some(row.early_step)),
    ];
    let steps = extent(rows.iter().map(|row| row.early_step as f64)).unwrap_or(0.0..0.0);
    let x = Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number));
    Panel { title: "Each checkpoint with half of the last one".to_owned(), x, y, curves }
}

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let rows = shown.rows()?;
    let caption = transplant_caption(&rows);
    Ok(Section::figure("transplant", "Early or late layers", caption, transplant(&rows))?.into_iter().collect())
}

fn transplant_caption(rows: &[ExchangeRow]) -> String {
    rows.first().map_or(String::new(), |row| {
        format!("Error of a model that has the layers up to {} from one checkpoint and all later layers from another. If an early checkpoint gets better with the other half of a late one, that half was what it lacked.", row.layer.0)
    })
}

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::*;
    use crate::planted::check;

    /// Errors that fall with either step.
    fn transplanted(steps: &[usize]) -> Vec<ExchangeRow> {
        let pairs = steps.iter().flat_map(|early| steps.iter().map(move |late| (*early, *late)));
        let row = |(early_step, late_step): (usize, usize)| {
            let error = 0.2 + 0.6 / (1.0 + early_step as f64 / 900.0) + 0.4 / (1.0 + late_step as f64 / 3000.0);
            let (lo, hi) = (0.95 * error, 1.05 * error);
            ExchangeRow { early_step, late_step, layer: Layer(3), concept: None, error, lo, hi, n: 250 }
        };
        pairs.map(row).collect()
    }

    #[test]
    fn shows_every_pair_and_what_each_half_repairs() {
        let svg = transplant(&transplanted(&[0, 16, 500, 1000, 2000, 3500, 8000, 16_000])).unwrap();
        check("transplant", &svg);
        for label in ["layers up to 3", "early layers from the last", "as it was", "16k", "1.20"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        check("transplant-one", &transplant(&transplanted(&[40])).unwrap());
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        for value in [f64::NAN, f64::INFINITY, 0.0, 1e300] {
            let mut rows = transplanted(&[0, 10, 20]);
            rows.iter_mut().step_by(2).for_each(|row| (row.error, row.lo, row.hi) = (value, value, value));
            check(&format!("transplant-{value:e}"), &transplant(&rows).unwrap());
            rows.iter_mut().for_each(|row| (row.error, row.lo, row.hi) = (value, value, value));
            check(&format!("transplant-all-{value:e}"), &transplant(&rows).unwrap());
        }
        assert!(matches!(transplant(&[]), Err(PlotError::Empty { figure: "transplant", .. })));
    }
}
