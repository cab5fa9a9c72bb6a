//! Hidden states in the plane of their first two principal components, at a few checkpoints side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use plotters::chart::ChartBuilder;
use plotters::element::{Circle, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, RGBColor, ShapeStyle};
use run::MapRow;

use super::PlotError;
use super::emergence::x_token;
use super::style::{
    Area, GREY, INK, LINE, TYPE, UNITS, WIDTH, canvas, concept_color, darker, evenly, extent, font, shorten,
    step_in_text, width, write,
};

const MOST_PANELS: usize = 4;
/// Side of the largest panel, in units.
const LARGEST: u32 = 480 * UNITS;
/// Space above and below the points of a panel, for title and axis title.
const ABOVE: u32 = 34 * UNITS;
const BELOW: u32 = 30 * UNITS;
/// Space at the left of a panel for its axis title, and at the outer edges.
const SIDE: u32 = 28 * UNITS;
const MARGIN: i32 = 8 * UNITS as i32;
/// From the left edge of a dot in the legend to its name.
const DOT: i32 = 18 * UNITS as i32;
/// Longer names are cut, or one of them could be wider than the figure.
const LONGEST_NAME: usize = 28;

/// Concepts in alphabetical order, with their colours.
type Colors<'a> = BTreeMap<&'a str, RGBColor>;

/// Draws one panel of points per step, up to four steps, for the last layer and the last x token in the table.
///
/// Every panel has a scale of its own, the same in both directions, so that distances within a panel can be compared.
///
/// # Errors
/// [`PlotError::Empty`] if no row has finite coordinates.
pub fn maps(rows: &[MapRow]) -> Result<String, PlotError> {
    let finite = |row: &&MapRow| row.pc1.is_finite() && row.pc2.is_finite();
    let rows: Vec<&MapRow> = rows.iter().filter(finite).collect();
    let place = |row: &MapRow| (row.layer, x_token(&row.token));
    let last = rows.iter().map(|row| place(row)).max();
    let rows: Vec<&MapRow> = rows.into_iter().filter(|row| Some(place(row)) == last).collect();
    let Some(first) = rows.first() else {
        return Err(PlotError::Empty { figure: "maps", table: "map.csv" });
    };
    let steps: Vec<usize> = rows.iter().map(|row| row.step).collect::<BTreeSet<_>>().into_iter().collect();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.concept.as_str()).collect();
    let colors: Colors<'_> = names.into_iter().enumerate().map(|(index, name)| (name, concept_color(index))).collect();
    let chosen: Vec<usize> = evenly(steps.len(), MOST_PANELS).into_iter().map(|index| steps[index]).collect();
    let side = (WIDTH / chosen.len() as u32).min(LARGEST);
    let figure = side * chosen.len() as u32;
    let legend = legend(&colors, figure as i32)?;
    let lines = 1 + legend.last().map_or(0, |entry| entry.line + 1);
    let top = lines * LINE + 12 * UNITS;
    let height = top + ABOVE + side - SIDE - MARGIN as u32 + BELOW;
    canvas((figure, height), |area| {
        let title = format!("Hidden states at layer {}, token {}", first.layer, first.token);
        area.draw_text(&title, &font(TYPE, INK, FontStyle::Bold), (MARGIN, 8 * UNITS as i32))?;
        legend.iter().try_for_each(|entry| entry.draw(area))?;
        let panels = area.split_vertically(top).1.split_evenly((1, chosen.len()));
        panels.iter().zip(&chosen).try_for_each(|(panel, step)| {
            let points: Vec<&MapRow> = rows.iter().copied().filter(|row| row.step == *step).collect();
            draw_panel(panel, *step, &points, &colors)
        })
    })
}

/// A concept's name behind a dot of its colour.
struct Entry {
    x: i32,
    line: u32,
    name: String,
    color: RGBColor,
}

/// Lays the names out in as many lines of `room` units as they need.
fn legend(colors: &Colors<'_>, room: i32) -> Result<Vec<Entry>, PlotError> {
    let mut entries = Vec::new();
    let (mut x, mut line) = (MARGIN, 0);
    for (name, color) in colors {
        let name = shorten(name, LONGEST_NAME);
        let length = DOT + width(&name)? as i32 + 24 * UNITS as i32;
        if x + length > room && x > MARGIN {
            (x, line) = (MARGIN, line + 1);
        }
        entries.push(Entry { x, line, name, color: *color });
        x += length;
    }
    Ok(entries)
}

impl Entry {
    fn draw(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let y = ((self.line + 1) * LINE + 18 * UNITS) as i32;
        let radius = 6 * UNITS as i32;
        area.draw(&Circle::new((self.x + radius, y), radius, self.color.filled()))?;
        write(area, &self.name, (self.x + DOT, y), darker(self.color, 0.75), HPos::Left)
    }
}

fn draw_panel(area: &Area<'_>, step: usize, points: &[&MapRow], colors: &Colors<'_>) -> Result<(), PlotError> {
    let (columns, _) = area.dim_in_pixel();
    let side = columns - SIDE - MARGIN as u32;
    let mut chart = ChartBuilder::on(area)
        .margin_left(SIDE)
        .margin_right(MARGIN)
        .margin_top(ABOVE)
        .margin_bottom(BELOW)
        .build_cartesian_2d(square(points, |row| row.pc1), square(points, |row| row.pc2))?;
    chart.plotting_area().strip_coord_spec().draw(&Rectangle::new(
        [(0, 0), (side as i32 - 1, side as i32 - 1)],
        ShapeStyle::from(GREY.mix(0.5)).stroke_width(UNITS),
    ))?;
    chart.draw_series(points.iter().map(|row| {
        let color = colors.get(row.concept.as_str()).copied().unwrap_or(GREY);
        Circle::new((row.pc1, row.pc2), 5, color.mix(0.65).filled())
    }))?;
    let explained = points.first().map_or((0.0, 0.0), |row| (row.explained_1, row.explained_2));
    let middle = (SIDE + side / 2) as i32;
    write(area, &format!("step {}", step_in_text(step)), (middle, ABOVE as i32 / 2), INK, HPos::Center)?;
    write(area, &component(1, explained.0), (middle, (ABOVE + side + BELOW / 2) as i32), INK, HPos::Center)?;
    let upright = font(TYPE, INK, FontStyle::Normal).transform(FontTransform::Rotate270);
    let upright = upright.pos(Pos::new(HPos::Center, VPos::Center));
    area.draw_text(&component(2, explained.1), &upright, (SIDE as i32 / 2, (ABOVE + side / 2) as i32))?;
    Ok(())
}

/// Name of a component with the share of the variance it carries.
fn component(index: usize, explained: f64) -> String {
    if explained.is_finite() { format!("PC{index} ({:.0}%)", 100.0 * explained) } else { format!("PC{index}") }
}

/// The values' range, widened around its middle to the length that both components need.
fn square(points: &[&MapRow], of: impl Fn(&MapRow) -> f64) -> Range<f64> {
    let length = |range: Option<Range<f64>>| range.map_or(0.0, |range| range.end - range.start);
    let along = |of: &dyn Fn(&MapRow) -> f64| extent(points.iter().map(|row| of(row)));
    let longest = length(along(&|row| row.pc1)).max(length(along(&|row| row.pc2)));
    let half = if longest > 0.0 { 0.54 * longest } else { 0.5 };
    let middle = along(&of).map_or(0.0, |range| f64::midpoint(range.start, range.end));
    middle - half..middle + half
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, map, names};
    use super::*;

    #[test]
    fn shows_a_panel_per_step_and_every_concept() {
        let svg = maps(&map(4, &[0, 2000, 4000, 10000])).unwrap();
        check("maps", &svg);
        for label in names(4).iter().map(String::as_str).chain(["step 0", "step 10,000", "PC1 (41%)", "PC2 (23%)"]) {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert_eq!(svg.matches("<circle").count(), 4 * 4 * 60 + 4);
    }

    #[test]
    fn at_most_four_steps_with_the_ends_among_them() {
        let svg = maps(&map(12, &[0, 100, 200, 300, 400, 500, 600])).unwrap();
        check("maps-12", &svg);
        assert_eq!(svg.matches(">\nstep ").count(), 4);
        assert!(svg.contains("step 0") && svg.contains("step 600"));
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        let mut rows = map(2, &[7]);
        rows[0].pc1 = f64::NAN;
        rows[1].explained_1 = f64::NAN;
        check("maps-one", &maps(&rows).unwrap());
        rows.iter_mut().for_each(|row| (row.pc1, row.pc2) = (1.0, 1.0));
        check("maps-collapsed", &maps(&rows).unwrap());
        (rows[0].pc1, rows[1].pc1) = (f64::MAX, -f64::MAX);
        check("maps-far", &maps(&rows).unwrap());
        rows.iter_mut().for_each(|row| row.pc2 = f64::INFINITY);
        assert!(matches!(maps(&rows), Err(PlotError::Empty { figure: "maps", .. })));
    }

    #[test]
    fn only_the_last_layer_is_shown() {
        let mut rows = map(1, &[0]);
        rows[0].layer = 3;
        assert_eq!(maps(&rows).unwrap().matches("<circle").count(), 59 + 1);
    }
}
