//! Numbers as a map of coloured cells between two axes.

use plotters::element::Rectangle;
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor};

use crate::PlotError;
use crate::color::legible_on;
use crate::heat::{BAR_ROOM, Scale};
use crate::panel::{Axis, Chart, Margins, chart};
use crate::style::{Area, GRID, LINE, UNITS, WIDTH, canvas, width, write};

/// Space at the right of a grid without a bar.
const NO_BAR_ROOM: u32 = 12 * UNITS;

/// The unit square around a column and a row; row 0 is at the bottom.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its column, from the left.
    pub column: usize,
    /// Its row, from the bottom.
    pub row: usize,
    /// What its colour shows; a cell whose value is not finite is not drawn.
    pub value: f64,
    /// What is written into it where there is room: all lines, or the first ones, or none.
    pub lines: Vec<String>,
}

/// Coloured cells between two axes.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Text above it.
    pub title: String,
    /// The axis below, on which column `i` reaches from `i - 0.5` to `i + 0.5`.
    pub x: Axis,
    /// The axis at the left, the same for rows.
    pub y: Axis,
    /// The cells; where none is, the ground is grey.
    pub cells: Vec<Cell>,
    /// What the colours mean.
    pub scale: Scale,
    /// Whether the bar stands beside it.
    pub bar: bool,
}

/// Draws grids of one scale in rows of `columns`, each `height` units high, with the bar at the end of every full row.
pub fn draw_in_rows(mut grids: Vec<Grid>, columns: usize, height: u32) -> Result<String, PlotError> {
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
    pub fn margins(&self) -> Result<Margins, PlotError> {
        Margins::new(&self.y, if self.bar { BAR_ROOM } else { NO_BAR_ROOM })
    }

    /// Draws title, axes, cells and bar over the whole area.
    pub fn draw(&self, area: &Area<'_>, margins: Margins) -> Result<(), PlotError> {
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
        if self.bar { self.scale.draw_bar(area, &chart) } else { Ok(()) }
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
}
