//! Numbers as a map of coloured cells, with the bar that says what the colours mean.

use std::ops::Range;

use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor, ShapeStyle, WHITE};

use super::PlotError;
use super::panel::{Axis, Chart, Margins, chart};
use super::style::{
    Area, GREY, GRID, INK, LINE, UNITS, WIDTH, canvas, diverging, evenly, labelled, number, shorten, ticks, width,
    write,
};

/// Space for the colour bar, in units.
pub(super) const BAR_ROOM: u32 = 188 * UNITS;
/// Space at the right of a grid without a bar.
const NO_BAR_ROOM: u32 = 12 * UNITS;

/// What the colours mean: those from `color` at 0 to `color` at 1, over the values in `range`.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) range: Range<f64>,
    pub(super) color: fn(f64) -> RGBColor,
    /// Values named beside the bar, the most important first: one that would lie on another is left out.
    pub(super) marks: Vec<(f64, String)>,
    /// Whether colour goes with the root of the distance from the middle, so that small values show beside large ones.
    pub(super) root: bool,
}

impl Scale {
    /// Blue below 0, white at 0, orange above, both ends equally far away.
    pub(super) fn around_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let most = values.into_iter().filter(|value| value.is_finite()).map(f64::abs).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let large = ticks(&(0.0..most), 3).pop().unwrap_or(most);
        let marks = labelled(vec![0.0, large, -large, 0.1 * large, -0.1 * large], signed);
        Self { range: -most..most, color: diverging, marks, root: true }
    }

    /// 0 at the start of the range, 1 at its end.
    pub(super) fn share(&self, value: f64) -> f64 {
        let length = self.range.end - self.range.start;
        let share = if length > 0.0 { (value - self.range.start) / length } else { 1.0 };
        let off_middle = 2.0 * share - 1.0;
        if self.root { 0.5 + 0.5 * off_middle.signum() * off_middle.abs().sqrt() } else { share }
    }
}

/// The unit square around a column and a row; row 0 is at the bottom.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) column: usize,
    pub(super) row: usize,
    pub(super) value: f64,
    /// What is written into it where there is room: all lines, or the first ones, or none.
    pub(super) lines: Vec<String>,
}

/// Coloured cells between two axes.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) cells: Vec<Cell>,
    pub(super) scale: Scale,
    /// Whether the bar stands beside it.
    pub(super) bar: bool,
}

/// An axis with a cell for each name, of which at most `most` are shown.
pub(super) fn cell_axis(title: &str, names: &[String], most: usize) -> Axis {
    let marks = evenly(names.len(), most).into_iter().map(|index| (index as f64, names[index].clone())).collect();
    Axis::new(title, -0.5..names.len() as f64 - 0.5, marks)
}

/// `text`, cut to at most `room` units with an ellipsis.
pub(super) fn fit(text: &str, room: u32) -> Result<String, PlotError> {
    let mut length = text.chars().count();
    while length > 1 && width(&shorten(text, length))? > room {
        length -= 1;
    }
    Ok(shorten(text, length))
}

/// A number with its sign: `+0.25`, `-0.1`, `0`.
pub(super) fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

/// Draws grids of one scale in rows of `columns`, each `height` units high, with the bar at the end of every full row.
pub(super) fn draw_in_rows(mut grids: Vec<Grid>, columns: usize, height: u32) -> Result<String, PlotError> {
    let columns = columns.min(grids.len()).max(1);
    let rows = grids.len().div_ceil(columns);
    // What the bar takes is taken from all panels alike, so that their cells have one size.
    let panel = (WIDTH - BAR_ROOM) / columns as u32;
    for (index, grid) in grids.iter_mut().enumerate() {
        grid.bar = index % columns == columns - 1;
    }
    canvas((WIDTH, rows as u32 * height), |area| {
        for (index, grid) in grids.iter().enumerate() {
            let (left, top) = ((index % columns) as u32 * panel, (index / columns) as u32 * height);
            let right = left + panel + if grid.bar { BAR_ROOM - NO_BAR_ROOM } else { 0 };
            let part = area.clone().shrink((left, top), (right - left, height));
            grid.draw(&part, grid.margins()?)?;
        }
        Ok(())
    })
}

impl Grid {
    /// The margins that labels and bar need.
    pub(super) fn margins(&self) -> Result<Margins, PlotError> {
        Margins::new(&self.y, if self.bar { BAR_ROOM } else { NO_BAR_ROOM })
    }

    /// Draws title, axes, cells and bar over the whole area.
    pub(super) fn draw(&self, area: &Area<'_>, margins: Margins) -> Result<(), PlotError> {
        let mut chart = chart(area, &self.title, (&self.x, &self.y), margins)?;
        // What was not measured is grey, not the colour of any value.
        let everywhere = [(self.x.range.start, self.y.range.start), (self.x.range.end, self.y.range.end)];
        chart.draw_series([Rectangle::new(everywhere, GRID.filled())])?;
        let finite = || self.cells.iter().filter(|cell| cell.value.is_finite());
        chart.draw_series(finite().map(|cell| {
            let (x, y) = (cell.column as f64, cell.row as f64);
            Rectangle::new([(x - 0.5, y - 0.5), (x + 0.5, y + 0.5)], self.color(cell).filled())
        }))?;
        let lines = self.fitting_lines(&chart)?;
        finite().try_for_each(|cell| self.draw_lines(area, &chart, cell, lines))?;
        if self.bar { self.draw_bar(area, &chart) } else { Ok(()) }
    }

    fn color(&self, cell: &Cell) -> RGBColor {
        (self.scale.color)(self.scale.share(cell.value))
    }

    /// How many lines of text there is room for in every cell.
    fn fitting_lines(&self, chart: &Chart<'_, '_>) -> Result<usize, PlotError> {
        let (columns, rows) = chart.plotting_area().get_pixel_range();
        let across = f64::from(columns.end - columns.start) / (self.x.range.end - self.x.range.start);
        let down = f64::from(rows.end - rows.start) / (self.y.range.end - self.y.range.start);
        let most = self.cells.iter().map(|cell| cell.lines.len()).max().unwrap_or(0);
        for lines in (1..=most).rev() {
            let texts = self.cells.iter().flat_map(|cell| cell.lines.iter().take(lines));
            let widest = texts.map(|text| width(text)).try_fold(0, |widest, width| width.map(|w| widest.max(w)))?;
            if f64::from(widest + 12 * UNITS) < across && f64::from(lines as u32 * LINE + 6 * UNITS) < down {
                return Ok(lines);
            }
        }
        Ok(0)
    }

    fn draw_lines(&self, area: &Area<'_>, chart: &Chart<'_, '_>, cell: &Cell, most: usize) -> Result<(), PlotError> {
        let (left, top) = area.get_base_pixel();
        let (x, y) = chart.backend_coord(&(cell.column as f64, cell.row as f64));
        let lines = &cell.lines[..most.min(cell.lines.len())];
        for (index, text) in lines.iter().enumerate() {
            let below = (index as i32 * 2 + 1 - lines.len() as i32) * LINE as i32 / 2;
            write(area, text, (x - left, y - top + below), legible_on(self.color(cell)), HPos::Center)?;
        }
        Ok(())
    }

    /// The bar, as high as the plot.
    fn draw_bar(&self, area: &Area<'_>, chart: &Chart<'_, '_>) -> Result<(), PlotError> {
        const SHADES: i32 = 128;
        let (columns, rows) = chart.plotting_area().get_pixel_range();
        let (base_x, base_y) = area.get_base_pixel();
        let (left, width) = (columns.end - base_x + 28 * UNITS as i32, 22 * UNITS as i32);
        let height_of = |share: f64| rows.end - base_y - (share * f64::from(rows.end - rows.start)).round() as i32;
        for shade in 0..SHADES {
            let (low, high) = (f64::from(shade) / f64::from(SHADES), f64::from(shade + 1) / f64::from(SHADES));
            let corners = [(left, height_of(high)), (left + width, height_of(low))];
            area.draw(&Rectangle::new(corners, (self.scale.color)((low + high) / 2.0).filled()))?;
        }
        let mut taken: Vec<i32> = Vec::new();
        for (value, text) in &self.scale.marks {
            let (x, y) = (left + width, height_of(self.scale.share(*value).clamp(0.0, 1.0)));
            if taken.iter().any(|other| (other - y).abs() < LINE as i32) {
                continue;
            }
            taken.push(y);
            let tick = vec![(x, y), (x + 5 * UNITS as i32, y)];
            area.draw(&PathElement::new(tick, ShapeStyle::from(GREY).stroke_width(UNITS)))?;
            write(area, text, (x + 9 * UNITS as i32, y), INK, HPos::Left)?;
        }
        Ok(())
    }
}

/// Dark type on light colours, white type on dark ones.
///
/// # Source
/// Luma of Rec. 601.
fn legible_on(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let luma = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
    if luma > 140.0 { INK } else { WHITE }
}
