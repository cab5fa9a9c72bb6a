//! What all figures share: units, the canvas, and type.

use std::sync::Once;

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontFamily, FontStyle, IntoFont, RGBColor, TextStyle, WHITE, register_font};

use crate::PlotError;

/// Drawing units per CSS pixel. Plotters rounds to whole units, so finer units make smoother lines.
pub const UNITS: u32 = 2;
/// Width of a figure, in units.
pub const WIDTH: u32 = 1000 * UNITS;
/// Type size of everything but titles: 17 CSS pixels.
pub const TYPE: u32 = 17 * UNITS;
/// Distance from one line of type to the next, in units.
pub const LINE: u32 = 22 * UNITS;

/// Text and axes.
pub const INK: RGBColor = RGBColor(40, 40, 40);
/// What stays in the background: axis lines and reference levels of no interest.
pub const GREY: RGBColor = RGBColor(120, 120, 120);
/// Grid lines and cells without a value.
pub const GRID: RGBColor = RGBColor(228, 228, 228);

/// Where figures are drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws on a white canvas of `size` units and returns the SVG text.
pub fn canvas(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<(), PlotError>) -> Result<String, PlotError> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    draw(&area)?;
    area.present()?;
    drop(area);
    let extent = |units: u32| format!(r#"width="{}" height="{}""#, size.0 / units, size.1 / units);
    Ok(svg.replacen(&extent(1), &extent(UNITS), 1))
}

/// Type of `size` units. Plotters counts the line height as the size, hence the factor, which its SVG writer takes out.
pub fn font(size: u32, color: RGBColor, style: FontStyle) -> TextStyle<'static> {
    const LINE_HEIGHT: f64 = 1.24;
    static REGISTERED: Once = Once::new();
    // A font that cannot be registered shows as a `PlotError` from the first text that is measured.
    REGISTERED.call_once(|| {
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font("sans-serif", FontStyle::Bold, dejavu::sans::bold());
    });
    (FontFamily::SansSerif, f64::from(size) * LINE_HEIGHT, style).into_font().color(&color)
}

/// Plain text in the usual size, vertically centred on `at`.
pub fn write(area: &Area<'_>, text: &str, at: (i32, i32), color: RGBColor, side: HPos) -> Result<(), PlotError> {
    let style = font(TYPE, color, FontStyle::Normal).pos(Pos::new(side, VPos::Center));
    Ok(area.draw_text(text, &style, at)?)
}

/// Width of text in the usual size, in units.
pub fn width(text: &str) -> Result<u32, PlotError> {
    width_in(FontStyle::Normal, text)
}

/// Width of a heading, in units.
pub fn heading_width(text: &str) -> Result<u32, PlotError> {
    width_in(FontStyle::Bold, text)
}

fn width_in(style: FontStyle, text: &str) -> Result<u32, PlotError> {
    let measured = font(TYPE, INK, style).font.box_size(text);
    measured.map(|(width, _)| width).map_err(|error| PlotError::Draw { reason: error.to_string() })
}
