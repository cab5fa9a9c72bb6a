//! Quantities as colours: what the colours mean, and the bar that says so.

use std::ops::Range;

use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor, ShapeStyle};

use crate::PlotError;
use crate::color::diverging;
use crate::panel::Chart;
use crate::style::{Area, GREY, INK, LINE, UNITS, write};
use crate::ticks::{labelled, signed, ticks};

/// Space for the colour bar beside a plot, in units.
pub const BAR_ROOM: u32 = 188 * UNITS;

/// What the colours mean: those from `color` at 0 to `color` at 1, over the values in `range`.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The values that have colours of their own.
    pub range: Range<f64>,
    /// Colour of a share of the range, from 0 to 1.
    pub color: fn(f64) -> RGBColor,
    /// Values named beside the bar, the most important first: one that would lie on another is left out.
    pub marks: Vec<(f64, String)>,
    /// Whether colour goes with the root of the distance from the middle, so that small values show beside large ones.
    pub root: bool,
}

impl Scale {
    /// Blue below 0, white at 0, orange above, both ends equally far away.
    pub fn around_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let most = values.into_iter().filter(|value| value.is_finite()).map(f64::abs).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let large = ticks(&(0.0..most), 3).pop().unwrap_or(most);
        let marks = labelled(vec![0.0, large, -large, 0.1 * large, -0.1 * large], signed);
        Self { range: -most..most, color: diverging, marks, root: true }
    }

    /// 0 at the start of the range, 1 at its end.
    pub fn share(&self, value: f64) -> f64 {
        let length = self.range.end - self.range.start;
        let share = if length > 0.0 { (value - self.range.start) / length } else { 1.0 };
        let off_middle = 2.0 * share - 1.0;
        if self.root { 0.5 + 0.5 * off_middle.signum() * off_middle.abs().sqrt() } else { share }
    }

    /// Draws the bar at the right of `chart`, as high as the plot.
    pub fn draw_bar(&self, area: &Area<'_>, chart: &Chart<'_, '_>) -> Result<(), PlotError> {
        const SHADES: i32 = 128;
        let (columns, rows) = chart.plotting_area().get_pixel_range();
        let (base_x, base_y) = area.get_base_pixel();
        let (left, width) = (columns.end - base_x + 28 * UNITS as i32, 22 * UNITS as i32);
        let height_of = |share: f64| rows.end - base_y - (share * f64::from(rows.end - rows.start)).round() as i32;
        for shade in 0..SHADES {
            let (low, high) = (f64::from(shade) / f64::from(SHADES), f64::from(shade + 1) / f64::from(SHADES));
            let corners = [(left, height_of(high)), (left + width, height_of(low))];
            area.draw(&Rectangle::new(corners, (self.color)((low + high) / 2.0).filled()))?;
        }
        let mut taken: Vec<i32> = Vec::new();
        for (value, text) in &self.marks {
            let (x, y) = (left + width, height_of(self.share(*value).clamp(0.0, 1.0)));
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
