//! Decodability of every layer at every checkpoint, as a map of colours.

use std::collections::{BTreeMap, BTreeSet};

use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, ShapeStyle};
use run::DecodabilityRow;

use super::PlotError;
use super::emergence::{AtQuery, at_query};
use super::panel::{Axis, Chart, Margins, chart};
use super::style::{
    Area, GREY, GRID, INK, UNITS, WIDTH, canvas, evenly, labelled, number, step_on_axis, ticks, viridis, write,
};

/// Space for the colour bar, in units.
const BAR_ROOM: u32 = 188 * UNITS;
const MOST_LABELS: usize = 9;

/// Draws Concept Decodability (kNN, query's x token): layers from the embedding upwards, checkpoints left to right.
///
/// Columns have one width, whatever the distance of the checkpoints; colour runs from guessing to 1.
///
/// # Errors
/// [`PlotError::Empty`] if `cd` has no row over all concepts at an x token.
pub fn heatmap(cd: &[DecodabilityRow]) -> Result<String, PlotError> {
    let decoded = at_query(cd).ok_or(PlotError::Empty { figure: "heatmap", table: "cd.csv (knn, all concepts)" })?;
    let steps: BTreeSet<usize> = decoded.rows.iter().map(|row| row.step).collect();
    let columns: BTreeMap<usize, usize> = steps.iter().enumerate().map(|(column, step)| (*step, column)).collect();
    let top = decoded.rows.iter().map(|row| row.layer).max().unwrap_or(0);
    let (x, y) = axes(&steps, top);
    let height = (30 * top as u32 + 250).clamp(420, 800) * UNITS;
    canvas((WIDTH, height), |area| {
        let title = format!("Concept Decodability at token {}", decoded.token);
        let mut chart = chart(area, &title, (&x, &y), Margins::new(&y, BAR_ROOM)?)?;
        let cells = decoded.rows.iter().map(|row| (columns[&row.step], row.layer, row.score));
        draw_cells(&mut chart, cells, (columns.len(), top + 1), decoded.chance)?;
        draw_bar(area, &chart, &decoded)
    })
}

/// Cell (column, layer) is the unit square around those numbers.
fn axes(steps: &BTreeSet<usize>, top: usize) -> (Axis, Axis) {
    let steps: Vec<usize> = steps.iter().copied().collect();
    let marks = marked(&steps).into_iter().map(|column| (column as f64, step_on_axis(steps[column] as f64))).collect();
    let x = Axis::new("training step of the checkpoint", -0.5..steps.len() as f64 - 0.5, marks);
    let layers = evenly(top + 1, 13).into_iter().map(|layer| layer as f64).collect();
    let y = Axis::new("layer (0 = embedding)", -0.5..top as f64 + 0.5, labelled(layers, number));
    (x, y)
}

/// Columns to label: those of round steps where these lie far enough apart, else evenly spread ones.
fn marked(steps: &[usize]) -> Vec<usize> {
    let range = steps[0] as f64..steps[steps.len() - 1] as f64;
    let is_round = |step: f64| ticks(&range, MOST_LABELS).contains(&step);
    let round: Vec<usize> = (0..steps.len()).filter(|column| is_round(steps[*column] as f64)).collect();
    let apart = round.windows(2).all(|pair| (pair[1] - pair[0]) * MOST_LABELS * 3 / 2 >= steps.len());
    if round.len() > 2 && apart { round } else { evenly(steps.len(), MOST_LABELS) }
}

fn draw_cells(
    chart: &mut Chart<'_, '_>,
    cells: impl Iterator<Item = (usize, usize, f64)>,
    (columns, layers): (usize, usize),
    chance: f64,
) -> Result<(), PlotError> {
    let (right, top) = (columns as f64 - 0.5, layers as f64 - 0.5);
    // What was not measured is grey, not chance.
    chart.draw_series([Rectangle::new([(-0.5, -0.5), (right, top)], GRID.filled())])?;
    chart.draw_series(cells.map(|(column, layer, score)| {
        let (x, y) = (column as f64, layer as f64);
        Rectangle::new([(x - 0.5, y - 0.5), (x + 0.5, y + 0.5)], viridis(above_chance(score, chance)).filled())
    }))?;
    Ok(())
}

/// 0 at chance, 1 at a score of 1.
fn above_chance(score: f64, chance: f64) -> f64 {
    if chance < 1.0 { (score - chance) / (1.0 - chance) } else { 1.0 }
}

/// The colour bar, as high as the plot, with its lower end marked as chance.
fn draw_bar(area: &Area<'_>, chart: &Chart<'_, '_>, decoded: &AtQuery<'_>) -> Result<(), PlotError> {
    const SHADES: i32 = 128;
    let (columns, rows) = chart.plotting_area().get_pixel_range();
    let (left, width) = (columns.end + 28 * UNITS as i32, 22 * UNITS as i32);
    let height_of = |share: f64| rows.end - (share * f64::from(rows.end - rows.start)).round() as i32;
    for shade in 0..SHADES {
        let (low, high) = (f64::from(shade) / f64::from(SHADES), f64::from(shade + 1) / f64::from(SHADES));
        let corners = [(left, height_of(high)), (left + width, height_of(low))];
        area.draw(&Rectangle::new(corners, viridis((low + high) / 2.0).filled()))?;
    }
    let mut marks = vec![(decoded.chance, format!("{} chance", decoded.chance_text()))];
    // A mark too near to the lower end would lie on its label.
    let clear = |mark: &(f64, String)| mark.0 > decoded.chance && above_chance(mark.0, decoded.chance) > 0.08;
    marks.extend(labelled(ticks(&(0.0..1.0), 5), number).into_iter().filter(clear));
    for (value, text) in marks {
        let (x, y) = (left + width, height_of(above_chance(value, decoded.chance).clamp(0.0, 1.0)));
        let tick = vec![(x, y), (x + 5 * UNITS as i32, y)];
        area.draw(&PathElement::new(tick, ShapeStyle::from(GREY).stroke_width(UNITS)))?;
        write(area, &text, (x + 9 * UNITS as i32, y), INK, HPos::Left)?;
    }
    Ok(())
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
    fn round_steps_are_labelled_where_they_exist() {
        let linear: Vec<usize> = (0..=40).map(|column| column * 250).collect();
        assert_eq!(marked(&linear), [0, 8, 16, 24, 32, 40]);
        assert_eq!(marked(&[0, 1, 3, 7]), [0, 1, 2, 3]);
        let doubling: Vec<usize> = (0..20).map(|column| 1 << column).collect();
        assert_eq!(marked(&doubling), evenly(20, MOST_LABELS));
    }

    #[test]
    fn empty_table_is_named() {
        assert!(matches!(heatmap(&[]), Err(PlotError::Empty { figure: "heatmap", .. })));
    }
}
