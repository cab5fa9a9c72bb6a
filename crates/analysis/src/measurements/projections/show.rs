//! Hidden states in a plane, checkpoints side by side and layers below each other.

use std::collections::BTreeSet;
use std::ops::Range;

use data::Legend;
use plots::PlotError;
use plots::color::{color_of, darker};
use plots::labels::shorten;
use plots::shapes::{
    ChartBuilder, Circle, Color, FontStyle, FontTransform, HPos, Pos, RGBColor, Rectangle, ShapeStyle, VPos,
};
use plots::style::{Area, GREY, INK, LINE, TYPE, UNITS, WIDTH, canvas, font, width, write};
use plots::ticks::{compact_number, evenly, extent};
use probe::Layer;

use super::{MapMethod, MapRow};
use crate::show::{Section, Shown, in_task_order};
use crate::{DecodabilityRow, MeasureError};

/// Steps beside each other, and layers below each other.
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

/// Concepts in the task's order, with their colours.
type Colors<'a> = Vec<(&'a str, RGBColor)>;

/// Draws one panel of points for every step and layer, up to four of each, with the CD of the same states from
/// `cd` where it is there: a map shows more or less than CD measures.
///
/// Every panel has a scale of its own, the same in both directions, so that distances within a panel can be compared.
///
/// # Errors
/// [`PlotError::Empty`] if no row of the method has finite coordinates.
fn maps(rows: &[MapRow], method: MapMethod, cd: &[DecodabilityRow], concepts: &Legend) -> Result<String, PlotError> {
    let drawn = |row: &&MapRow| row.method == method && row.x.is_finite() && row.y.is_finite();
    let rows: Vec<&MapRow> = rows.iter().filter(drawn).collect();
    let Some(first) = rows.first() else {
        return Err(PlotError::Empty { figure: "maps", origin: "map.csv" });
    };
    let names = in_task_order(rows.iter().map(|row| row.concept.as_str()), concepts);
    let colors: Colors<'_> = names.into_iter().enumerate().map(|(index, name)| (name, color_of(index))).collect();
    let steps = chosen(rows.iter().map(|row| row.step));
    let layers = chosen(rows.iter().map(|row| row.layer));
    let side = (WIDTH / steps.len() as u32).min(LARGEST);
    let figure = side * steps.len() as u32;
    let legend = legend(&colors, figure as i32)?;
    let lines = 1 + legend.last().map_or(0, |entry| entry.line + 1);
    let top = lines * LINE + 12 * UNITS;
    let panel = ABOVE + side - SIDE - MARGIN as u32 + BELOW;
    canvas((figure, top + panel * layers.len() as u32), |area| {
        let title = format!("States at token {}, {}", first.token, method.title());
        area.draw_text(&title, &font(TYPE, INK, FontStyle::Bold), (MARGIN, 8 * UNITS as i32))?;
        legend.iter().try_for_each(|entry| entry.draw(area))?;
        let panels = area.split_vertically(top).1.split_evenly((layers.len(), steps.len()));
        let places = layers.iter().flat_map(|layer| steps.iter().map(move |step| (*step, *layer)));
        panels.iter().zip(places).try_for_each(|(panel, (step, layer))| {
            let points: Vec<&MapRow> =
                rows.iter().copied().filter(|row| (row.step, row.layer) == (step, layer)).collect();
            draw_panel(panel, &panel_title(first, step, layer, cd), &points, &colors)
        })
    })
}

/// Some of the values, with the ends among them.
fn chosen<T: Copy + Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let all: Vec<T> = values.collect::<BTreeSet<_>>().into_iter().collect();
    evenly(all.len(), MOST_PANELS).into_iter().map(|index| all[index]).collect()
}

/// Step and layer, and CD there where it is known.
fn panel_title(map: &MapRow, step: usize, layer: Layer, cd: &[DecodabilityRow]) -> String {
    let here = |row: &&DecodabilityRow| (row.step, row.layer) == (step, layer) && row.token == map.token;
    let score = cd.iter().filter(here).find(|row| row.is_cd() && row.concept.is_none());
    let score = score.map_or(String::new(), |row| format!(", CD {:.2}", row.score));
    format!("step {}, layer {}{score}", compact_number(step as f64), layer.0)
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

fn draw_panel(area: &Area<'_>, title: &str, points: &[&MapRow], colors: &Colors<'_>) -> Result<(), PlotError> {
    let (columns, _) = area.dim_in_pixel();
    let side = columns - SIDE - MARGIN as u32;
    let mut chart = ChartBuilder::on(area)
        .margin_left(SIDE)
        .margin_right(MARGIN)
        .margin_top(ABOVE)
        .margin_bottom(BELOW)
        .build_cartesian_2d(square(points, |row| row.x), square(points, |row| row.y))?;
    chart.plotting_area().strip_coord_spec().draw(&Rectangle::new(
        [(0, 0), (side as i32 - 1, side as i32 - 1)],
        ShapeStyle::from(GREY.mix(0.5)).stroke_width(UNITS),
    ))?;
    chart.draw_series(points.iter().map(|row| {
        let color = colors.iter().find(|(name, _)| *name == row.concept).map_or(GREY, |(_, color)| *color);
        Circle::new((row.x, row.y), 5, color.mix(0.65).filled())
    }))?;
    let middle = (SIDE + side / 2) as i32;
    write(area, title, (middle, ABOVE as i32 / 2), INK, HPos::Center)?;
    // Only principal components have an axis to name.
    let Some((Some(first), Some(second))) = points.first().map(|row| (row.explained_x, row.explained_y)) else {
        return Ok(());
    };
    write(area, &component(1, first), (middle, (ABOVE + side + BELOW / 2) as i32), INK, HPos::Center)?;
    let upright = font(TYPE, INK, FontStyle::Normal).transform(FontTransform::Rotate270);
    let upright = upright.pos(Pos::new(HPos::Center, VPos::Center));
    area.draw_text(&component(2, second), &upright, (SIDE as i32 / 2, (ABOVE + side / 2) as i32))?;
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
    let longest = length(along(&|row| row.x)).max(length(along(&|row| row.y)));
    let half = if longest > 0.0 { 0.54 * longest } else { 0.5 };
    let middle = along(&of).map_or(0.0, |range| f64::midpoint(range.start, range.end));
    middle - half..middle + half
}

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let (rows, cd) = (shown.rows()?, shown.rows()?);
    let figures = [
        ("map", "Hidden states", MapMethod::Pca),
        ("map_umap", "Hidden states, UMAP", MapMethod::Umap),
        ("map_tsne", "Hidden states, t-SNE", MapMethod::Tsne),
    ];
    let section = |(name, title, method)| {
        Section::figure(name, title, map_caption(method, &rows), maps(&rows, method, &cd, shown.legend))
    };
    Ok(figures.into_iter().map(section).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn map_caption(method: MapMethod, rows: &[MapRow]) -> String {
    let beware = match method {
        MapMethod::Pca => "which is measured in all dimensions: concepts that overlap in the plane may still be apart",
        MapMethod::Umap | MapMethod::Tsne => {
            "which is measured on the states themselves: the method keeps neighbours together and invents the sizes of groups and the gaps between them"
        }
    };
    format!(
        "Hidden states at one token in a plane, {} prompts of every concept; training steps from left to right, layers from top to bottom. Above each panel stands CD, {beware}.",
        prompts_per_concept(method, rows)
    )
}

/// Every concept has as many prompts in a panel; those of the first row are counted.
fn prompts_per_concept(method: MapMethod, rows: &[MapRow]) -> usize {
    let mut rows = rows.iter().filter(|row| row.method == method);
    let Some(first) = rows.next() else { return 0 };
    let panel = |row: &MapRow| (row.step, row.layer, row.token);
    1 + rows.filter(|row| panel(row) == panel(first) && row.concept == first.concept).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, decodability, legend, map, names};

    #[test]
    fn shows_a_panel_per_step_and_every_concept() {
        let svg =
            maps(&map(4, &[0, 2000, 4000, 10000]), MapMethod::Pca, &decodability(5, &[0, 4000]), &legend(4)).unwrap();
        check("maps", &svg);
        for label in
            names(4).iter().map(String::as_str).chain(["0, layer 4, CD 0.25", "10k, layer 4", "PC1 (41%)", "PC2 (23%)"])
        {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert_eq!(svg.matches("<circle").count(), 4 * 4 * 60 + 4);
    }

    #[test]
    fn at_most_four_steps_with_the_ends_among_them() {
        let svg = maps(&map(12, &[0, 100, 200, 300, 400, 500, 600]), MapMethod::Pca, &[], &legend(4)).unwrap();
        check("maps-12", &svg);
        assert_eq!(svg.matches(", layer 4").count(), 4);
        assert!(svg.contains("step 0, layer") && svg.contains("step 600, layer"));
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        let mut rows = map(2, &[7]);
        rows[0].x = f64::NAN;
        rows[1].explained_x = Some(f64::NAN);
        check("maps-one", &maps(&rows, MapMethod::Pca, &[], &legend(4)).unwrap());
        rows.iter_mut().for_each(|row| (row.x, row.y) = (1.0, 1.0));
        check("maps-collapsed", &maps(&rows, MapMethod::Pca, &[], &legend(4)).unwrap());
        (rows[0].x, rows[1].x) = (f64::MAX, -f64::MAX);
        check("maps-far", &maps(&rows, MapMethod::Pca, &[], &legend(4)).unwrap());
        rows.iter_mut().for_each(|row| row.y = f64::INFINITY);
        assert!(matches!(maps(&rows, MapMethod::Pca, &[], &legend(4)), Err(PlotError::Empty { figure: "maps", .. })));
    }

    #[test]
    fn layers_lie_below_each_other() {
        let mut rows = map(3, &[0, 2000]);
        for layer in [Layer(1), Layer(2)] {
            rows.extend(map(3, &[0, 2000]).into_iter().map(|row| MapRow { layer, ..row }));
        }
        let svg = maps(&rows, MapMethod::Pca, &[], &legend(4)).unwrap();
        check("maps-layers", &svg);
        assert_eq!(svg.matches("<circle").count(), 3 * 2 * 3 * 60 + 3);
    }

    #[test]
    fn every_method_has_a_figure_and_only_components_name_their_axes() {
        let mut rows = map(3, &[0, 2000, 4000]);
        rows.extend(map(3, &[4000]).into_iter().map(|row| MapRow {
            method: MapMethod::Umap,
            explained_x: None,
            explained_y: None,
            ..row
        }));
        let svg = maps(&rows, MapMethod::Umap, &[], &legend(4)).unwrap();
        check("maps-umap", &svg);
        assert_eq!(svg.matches("<circle").count(), 3 * 60 + 3);
        assert!(svg.contains("UMAP") && !svg.contains("PC1"));
        assert!(maps(&rows, MapMethod::Pca, &[], &legend(4)).unwrap().contains("PC1"));
        assert_eq!([MapMethod::Umap, MapMethod::Tsne].map(|method| prompts_per_concept(method, &rows)), [60, 0]);
        assert!(matches!(maps(&rows, MapMethod::Tsne, &[], &legend(4)), Err(PlotError::Empty { .. })));
    }
}
