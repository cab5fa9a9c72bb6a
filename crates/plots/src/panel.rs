//! One panel of lines, named where they end instead of in a legend.

use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::element::{Circle, DashedPathElement, PathElement, Polygon};
use plotters::prelude::{Cartesian2d, SVGBackend};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, FontStyle, RGBColor, ShapeStyle};

use crate::PlotError;
use crate::color::darker;
use crate::labels::{heading_lines, shorten, spread};
use crate::style::{Area, GREY, GRID, INK, LINE, TYPE, UNITS, WIDTH, canvas, font, width, write};

/// Space left of the plot for the axis title, the tick marks and their distance to the labels.
const LEFT: u32 = 44 * UNITS;
/// Space above the plot for the title.
const TOP: u32 = 40 * UNITS;
/// Space that stays empty at the left and right edges.
pub const EDGE: u32 = 8 * UNITS;
/// From one plot to the next beside it.
const GAP: u32 = 18 * UNITS;
/// From the end of a line to its label.
pub const LEADER: i32 = 26 * UNITS as i32;
/// Space for a label at least: the one that counts the labels left out has to fit.
const SHORTEST_LABEL: u32 = 90 * UNITS;
/// Radius of a point that no line goes through.
const DOT: u32 = 3 * UNITS;
/// Longer names are cut, or they would leave no room for the plot.
pub const LONGEST_LABEL: usize = 28;

/// One axis: its title, the values at its ends, and where it is labelled.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is measured along it.
    pub title: String,
    /// The values at its ends.
    pub range: Range<f64>,
    /// Where it is labelled, and with what.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over `range`; a range without length is widened, so that a single value lies in the middle.
    pub fn new(title: impl Into<String>, range: Range<f64>, ticks: Vec<(f64, String)>) -> Self {
        let length = range.end - range.start;
        let range = if length > 0.0 && length.is_finite() { range } else { range.start - 0.5..range.start + 0.5 };
        Self { title: title.into(), range, ticks }
    }

    /// The same without text, where a panel beside has the same axis and says what it is.
    pub fn bare(&self) -> Self {
        let ticks = self.ticks.iter().map(|(place, _)| (*place, String::new())).collect();
        Self { title: String::new(), range: self.range.clone(), ticks }
    }
}

/// The axis places and labels its own ticks, where plotters would choose by its rules.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        // What lies far outside would overflow the pixels; just outside is out of sight as well.
        start + (share.clamp(-1.0, 2.0) * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(place, _)| place == value).map_or_else(String::new, |(_, text)| text.clone())
    }
}

/// A line with its name and, where it has one, its interval.
#[derive(Clone, Debug)]
pub struct Curve {
    label: String,
    color: RGBColor,
    dash: Option<(u32, u32)>,
    dots: bool,
    points: Vec<(f64, f64)>,
    band: Vec<(f64, Range<f64>)>,
    bars: Vec<(f64, Range<f64>)>,
    discs: Vec<((f64, f64), u32)>,
}

impl Curve {
    /// A curve through the finite ones of the points.
    pub fn new(label: &str, color: RGBColor, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        let label = shorten(label, LONGEST_LABEL);
        let (band, bars, discs) = (Vec::new(), Vec::new(), Vec::new());
        Self { label, color, dash: None, dots: false, points, band, bars, discs }
    }

    /// The same, dashed: lengths of a dash and of a gap, in units.
    pub fn dashed(self, dash: (u32, u32)) -> Self {
        Self { dash: Some(dash), ..self }
    }

    /// The same points without a line between them.
    pub fn dots(self) -> Self {
        Self { dots: true, ..self }
    }

    /// The same, with an interval around it.
    pub fn with_band(self, band: impl IntoIterator<Item = (f64, Range<f64>)>) -> Self {
        Self { band: band.into_iter().filter(is_finite).collect(), ..self }
    }

    /// The same, with an upright bar for the interval of single points: where several lines lie close, bands would hide
    /// each other.
    pub fn with_bars(self, bars: impl IntoIterator<Item = (f64, Range<f64>)>) -> Self {
        Self { bars: bars.into_iter().filter(is_finite).collect(), ..self }
    }

    /// The same, with discs at some points, each with its radius in CSS pixels.
    pub fn with_discs(self, discs: impl IntoIterator<Item = ((f64, f64), u32)>) -> Self {
        let finite = |((x, y), _): &((f64, f64), u32)| x.is_finite() && y.is_finite();
        Self { discs: discs.into_iter().filter(finite).collect(), ..self }
    }

    /// Heights of its points.
    pub fn heights(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, y)| *y)
    }

    /// Heights of its points and of both ends of its intervals.
    pub fn reach(&self) -> impl Iterator<Item = f64> {
        let intervals = self.band.iter().chain(&self.bars);
        self.heights().chain(intervals.flat_map(|(_, range)| [range.start, range.end]))
    }
}

fn is_finite((x, range): &(f64, Range<f64>)) -> bool {
    x.is_finite() && range.start.is_finite() && range.end.is_finite()
}

/// A titled panel. If there is no space for all labels, those of the first curves are shown.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Text above it.
    pub title: String,
    /// The axis below.
    pub x: Axis,
    /// The axis at the left.
    pub y: Axis,
    /// What is drawn, in this order: later lines lie on earlier ones.
    pub curves: Vec<Curve>,
}

/// Axes of a panel, to draw on in data coordinates.
pub type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// Units beside a plot. Panels with the same margins that stand above each other share their x axis exactly.
#[derive(Clone, Copy, Debug)]
pub struct Margins {
    /// At the left, for the labels of the y axis.
    pub left: u32,
    /// At the right.
    pub right: u32,
}

impl Margins {
    /// Space for the labels of the y axis at the left, and `right` units.
    pub fn new(y: &Axis, right: u32) -> Result<Self, PlotError> {
        let labels = y.ticks.iter().map(|(_, text)| text.as_str());
        Ok(Self { left: LEFT + widest(labels)?, right })
    }

    /// Enough for either.
    pub fn max(self, other: Self) -> Self {
        Self { left: self.left.max(other.left), right: self.right.max(other.right) }
    }
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> Result<u32, PlotError> {
    texts.map(width).try_fold(0, |widest, width| Ok(widest.max(width?)))
}

/// Draws title, axes and grid inside the margins. A title that is too long for one line takes a second one.
pub fn chart<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    (x, y): (&Axis, &Axis),
    margins: Margins,
) -> Result<Chart<'a, 'b>, PlotError> {
    let plain = font(TYPE, INK, FontStyle::Normal);
    let below = if x.title.is_empty() { 16 * UNITS } else { 56 * UNITS };
    let left = EDGE + margins.left;
    let heading = heading_lines(title, area.dim_in_pixel().0.saturating_sub(left + EDGE))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(TOP + heading.len().saturating_sub(1) as u32 * LINE)
        .margin_right(margins.right)
        .margin_left(EDGE)
        .margin_bottom(6 * UNITS)
        .x_label_area_size(below)
        .y_label_area_size(margins.left)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(ShapeStyle::from(GRID).stroke_width(UNITS))
        .light_line_style(GRID.mix(0.0))
        .axis_style(ShapeStyle::from(GREY).stroke_width(UNITS))
        .set_all_tick_mark_size(4 * UNITS)
        .label_style(plain.clone())
        .axis_desc_style(plain)
        .x_desc(x.title.as_str())
        .y_desc(y.title.as_str())
        .draw()?;
    for (line, top) in heading.iter().zip((12 * UNITS as i32..).step_by(LINE as usize)) {
        area.draw_text(line, &font(TYPE, INK, FontStyle::Bold), (left as i32, top))?;
    }
    Ok(chart)
}

impl Panel {
    /// The margins that the labels need.
    pub fn margins(&self) -> Result<Margins, PlotError> {
        let names = widest(self.curves.iter().map(|curve| curve.label.as_str()))?;
        Margins::new(&self.y, names.max(SHORTEST_LABEL) + LEADER as u32 + EDGE)
    }

    /// The figure of this panel alone, so many units high.
    pub fn figure(&self, height: u32) -> Result<String, PlotError> {
        stacked(&[(self, height)])
    }

    /// Draws the panel over the whole area.
    pub fn draw(&self, area: &Area<'_>, margins: Margins) -> Result<(), PlotError> {
        let mut chart = chart(area, &self.title, (&self.x, &self.y), margins)?;
        for curve in &self.curves {
            draw_band(&mut chart, curve, &self.y.range)?;
        }
        // Thin dashes show on a thick line; under it they would be lost.
        let (dashed, solid): (Vec<&Curve>, Vec<&Curve>) = self.curves.iter().partition(|curve| curve.dash.is_some());
        for curve in solid.into_iter().chain(dashed) {
            draw_line(&mut chart, curve)?;
            draw_points(&mut chart, curve, &self.y.range)?;
        }
        self.draw_labels(area, &chart)
    }

    fn draw_labels(&self, area: &Area<'_>, chart: &Chart<'_, '_>) -> Result<(), PlotError> {
        let (columns, rows) = chart.plotting_area().get_pixel_range();
        let (left, top) = area.get_base_pixel();
        let named = self.curves.iter().filter(|curve| !curve.label.is_empty());
        let mut ends: Vec<_> = named
            .filter_map(|curve| Some((curve, chart.backend_coord(curve.points.last()?), curve.label.clone())))
            .collect();
        let fitting = (rows.len() / LINE as usize).max(1);
        if ends.len() > fitting {
            let rest = ends.len() - fitting + 1;
            ends.truncate(fitting);
            ends[fitting - 1].2 = format!("+{rest} more");
        }
        let wanted: Vec<f64> = ends.iter().map(|(_, (_, y), _)| f64::from(*y)).collect();
        let centres = spread(&wanted, f64::from(LINE), &(f64::from(rows.start)..f64::from(rows.end)));
        for ((curve, (x, y), label), centre) in ends.iter().zip(centres) {
            let (from, text) = ((x - left, y - top), (columns.end - left + LEADER, centre as i32 - top));
            let gap = 5 * UNITS as i32;
            let faint = curve.color.mix(0.5);
            if curve.dots {
                // Dots end nowhere: the label has one of them before it.
                area.draw(&Circle::new((text.0 - 2 * gap, text.1), DOT, faint.filled()))?;
            } else {
                let leader = vec![(from.0 + gap, from.1), (text.0 - gap, text.1)];
                area.draw(&PathElement::new(leader, ShapeStyle::from(faint).stroke_width(UNITS)))?;
            }
            write(area, label, text, darker(curve.color, 0.75), HPos::Left)?;
        }
        Ok(())
    }
}

/// The figure of panels one above the other, each as high as said, with their plots in line.
pub fn stacked(panels: &[(&Panel, u32)]) -> Result<String, PlotError> {
    let mut margins = Margins { left: 0, right: 0 };
    for (panel, _) in panels {
        margins = margins.max(panel.margins()?);
    }
    canvas((WIDTH, panels.iter().map(|(_, height)| height).sum()), |area| {
        let mut rest = area.clone();
        for (panel, height) in panels {
            let (here, below) = rest.split_vertically(*height);
            panel.draw(&here, margins)?;
            rest = below;
        }
        Ok(())
    })
}

/// Draws panels with the same y axis and the same curves beside each other, all as wide: the first shows the axis, the
/// last the labels.
pub fn draw_row(area: &Area<'_>, panels: &[Panel]) -> Result<(), PlotError> {
    let Some(last) = panels.len().checked_sub(1) else { return Ok(()) };
    let outer = panels[last].margins()?;
    let beside = outer.left + outer.right + last as u32 * GAP + panels.len() as u32 * EDGE;
    let plot = area.dim_in_pixel().0.saturating_sub(beside) / panels.len() as u32;
    let mut rest = area.clone();
    for (index, panel) in panels.iter().enumerate() {
        let mut panel = panel.clone();
        let mut margins = Margins { left: 0, right: GAP };
        if index == 0 {
            margins.left = outer.left;
        } else {
            panel.y = panel.y.bare();
        }
        if index == last {
            margins.right = outer.right;
        } else {
            panel.curves.iter_mut().for_each(|curve| curve.label.clear());
        }
        let (left, right) = rest.split_horizontally(EDGE + margins.left + plot + margins.right);
        panel.draw(&left, margins)?;
        rest = right;
    }
    Ok(())
}

/// Draws the interval, cut off at the ends of the axis.
fn draw_band(chart: &mut Chart<'_, '_>, curve: &Curve, heights: &Range<f64>) -> Result<(), PlotError> {
    let cut = |height: f64| height.clamp(heights.start, heights.end);
    let upper = curve.band.iter().map(|(x, range)| (*x, cut(range.end)));
    let lower = curve.band.iter().rev().map(|(x, range)| (*x, cut(range.start)));
    let outline: Vec<_> = upper.chain(lower).collect();
    chart.draw_series((!outline.is_empty()).then(|| Polygon::new(outline, curve.color.mix(0.18))))?;
    Ok(())
}

fn draw_line(chart: &mut Chart<'_, '_>, curve: &Curve) -> Result<(), PlotError> {
    let style = ShapeStyle::from(curve.color);
    match (curve.dash, curve.points.as_slice()) {
        (None, points) if curve.dots => {
            let dot = |point: &(f64, f64)| Circle::new(*point, DOT, curve.color.mix(0.5).filled());
            chart.draw_series(points.iter().map(dot))?;
            return Ok(());
        }
        // A line through one point would be invisible.
        (None, [only]) => chart.draw_series([Circle::new(*only, 4 * UNITS, style.filled())])?,
        (None, points) => chart.draw_series([PathElement::new(points, style.stroke_width(5))])?,
        (Some((dash, gap)), points) => {
            let line = DashedPathElement::new(points.iter().copied(), dash, gap, style.stroke_width(3));
            chart.draw_series([line])?
        }
    };
    Ok(())
}

/// Draws bars, cut off at the ends of the axis, and discs.
fn draw_points(chart: &mut Chart<'_, '_>, curve: &Curve, heights: &Range<f64>) -> Result<(), PlotError> {
    let cut = |height: f64| height.clamp(heights.start, heights.end);
    let style = ShapeStyle::from(curve.color.mix(0.55)).stroke_width(3);
    let bar =
        |(x, range): &(f64, Range<f64>)| PathElement::new(vec![(*x, cut(range.start)), (*x, cut(range.end))], style);
    chart.draw_series(curve.bars.iter().map(bar))?;
    let disc = |(at, radius): &((f64, f64), u32)| Circle::new(*at, radius * UNITS, curve.color.filled());
    chart.draw_series(curve.discs.iter().map(disc))?;
    Ok(())
}
