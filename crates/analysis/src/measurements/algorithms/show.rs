//! The algorithm trace: how far the model's answers are from every predictor's over training, and which is nearest.

use std::collections::{BTreeMap, BTreeSet};

use data::{Legend, Role};
use plots::PlotError;
use plots::color::{color_of, darker};
use plots::labels::shorten;
use plots::panel::{Axis, Curve, LEADER, LONGEST_LABEL, Margins, Panel, chart};
use plots::shapes::{Color, HPos, RGBColor, Rectangle};
use plots::style::{Area, GREY, INK, LINE, UNITS, WIDTH, canvas, write};
use plots::ticks::{compact_number, evenly, extent, labelled, log_axis, ticks};

use super::{AlgorithmRow, nearest};
use crate::MeasureError;
use crate::show::{Section, Shown, in_task_order};
use crate::style::predictor_style;

const FIGURE: &str = "algorithms";
const UPPER: u32 = 430 * UNITS;
/// Height of the title and the axis around the strips.
const AROUND: u32 = 110 * UNITS;
/// Strips of positions at most; of a longer prompt evenly spread ones are shown.
const MOST_POSITIONS: usize = 12;
const LONGEST_NAME: usize = 16;
/// Names that there is space for beside the distances.
const MOST_NAMED: usize = 14;

/// The nearest predictor at every checkpoint, for one concept or position.
struct Strip<'a> {
    name: String,
    nearest: Vec<&'a AlgorithmRow>,
}

/// Draws the distance of the model from every closed-form predictor over training (above), and which is the nearest
/// for every concept and along the prompt (below).
///
/// Above: over all concepts and positions, on a logarithmic axis if all distances are positive. Below: the colour of a
/// checkpoint reaches halfway to the next ones. The oracle is not shown, since no model can be told the concept.
///
/// # Units
/// Distance is the mean squared difference of the predictions, relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if no row is over all concepts and positions.
fn algorithms(rows: &[AlgorithmRow], legend: &Legend) -> Result<String, PlotError> {
    let empty = PlotError::Empty { figure: FIGURE, origin: "algorithms.csv (all concepts and positions)" };
    let steps = extent(nearest(rows, legend, None, None).iter().map(|row| row.step as f64)).ok_or(empty)?;
    let x = Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number));
    let colors = colors(rows, legend);
    let upper = distance_panel(rows, legend, &colors, x.bare());
    let strips = strips(rows, legend);
    // The first strip is the uppermost.
    let names = strips.iter().rev().enumerate().map(|(row, strip)| (row as f64, strip.name.clone())).collect();
    let y = Axis::new("", -0.5..strips.len() as f64 - 0.5, names);
    canvas((WIDTH, UPPER + AROUND + LINE * strips.len() as u32), |area| {
        let margins = upper.margins()?.max(Margins::new(&y, 0)?);
        let (above, below) = area.split_vertically(UPPER);
        upper.draw(&above, margins)?;
        draw_strips(&below, &strips, |predictor| colors[predictor], legend, (&x, &y), margins)
    })
}

/// Colours of the predictors: no other figure has them in colour, for there colour belongs to concepts.
fn colors<'a>(rows: &'a [AlgorithmRow], legend: &Legend) -> BTreeMap<&'a str, RGBColor> {
    let mut colors = BTreeMap::new();
    let mut others = 0;
    for name in rows.iter().map(|row| row.predictor.as_str()) {
        colors.entry(name).or_insert_with(|| match legend.role(name) {
            Role::Trivial => GREY,
            Role::Optimal => INK,
            _ => {
                others += 1;
                color_of(others - 1)
            }
        });
    }
    colors
}

fn distance_panel(rows: &[AlgorithmRow], legend: &Legend, colors: &BTreeMap<&str, RGBColor>, x: Axis) -> Panel {
    let over_all = |row: &&AlgorithmRow| row.concept.is_none() && row.position.is_none();
    let shown = |row: &&AlgorithmRow| over_all(row) && legend.role(&row.predictor) != Role::Oracle;
    let heights = extent(rows.iter().filter(shown).map(|row| row.distance)).unwrap_or(0.0..1.0);
    let (y, scale) = log_axis("squared distance / E[y²]", &heights);
    let curve = |(&name, &color): (&&str, &RGBColor)| {
        let points = rows.iter().filter(shown).filter(|row| row.predictor == name);
        Curve::new(
            &predictor_style(legend, name, 0).label,
            color,
            points.map(|row| (row.step as f64, scale(row.distance))),
        )
    };
    let title = "Distance of the model from every algorithm".to_owned();
    let is_usual = |name: &str| legend.role(name) != Role::Other;
    let curves = colors.iter().map(|color| (is_usual(color.0), curve(color)));
    let mut curves: Vec<(bool, Curve)> = curves.filter(|(_, curve)| curve.heights().count() > 0).collect();
    // Where there is no space for all names, the nearest ones have theirs, and of very many those that every task has.
    let least = |curve: &Curve| curve.heights().fold(f64::INFINITY, f64::min);
    curves.sort_by(|(_, a), (_, b)| least(a).total_cmp(&least(b)));
    if curves.len() > MOST_NAMED {
        curves.sort_by_key(|(is_usual, _)| !is_usual);
    }
    Panel { title, x, y, curves: curves.into_iter().map(|(_, curve)| curve).collect() }
}

/// Over all, for every concept in the task's order, and for every position.
fn strips<'a>(rows: &'a [AlgorithmRow], legend: &Legend) -> Vec<Strip<'a>> {
    let concepts = in_task_order(rows.iter().filter_map(|row| row.concept.as_deref()), legend);
    let positions: BTreeSet<usize> = rows.iter().filter_map(|row| row.position).collect();
    let positions: Vec<usize> = positions.into_iter().collect();
    let mut strips = vec![Strip { name: "all".to_owned(), nearest: nearest(rows, legend, None, None) }];
    strips.extend(concepts.into_iter().map(|concept| Strip {
        name: shorten(concept, LONGEST_NAME),
        nearest: nearest(rows, legend, Some(concept), None),
    }));
    strips.extend(evenly(positions.len(), MOST_POSITIONS).into_iter().map(|index| Strip {
        name: format!("pair {}", positions[index]),
        nearest: nearest(rows, legend, None, Some(positions[index])),
    }));
    strips
}

/// Draws a strip a row, with the name of its last predictor at its right end.
fn draw_strips(
    area: &Area<'_>,
    strips: &[Strip<'_>],
    color: impl Fn(&str) -> RGBColor,
    legend: &Legend,
    (x, y): (&Axis, &Axis),
    margins: Margins,
) -> Result<(), PlotError> {
    const HALF: f64 = 0.42;
    let mut chart = chart(area, "The nearest one, for each concept and along the prompt", (x, y), margins)?;
    let (left, top) = area.get_base_pixel();
    for (row, strip) in strips.iter().rev().enumerate() {
        let step = |index: usize| strip.nearest[index].step as f64;
        let last = strip.nearest.len().saturating_sub(1);
        let place = |index: usize| (step(index.saturating_sub(1)) + step(index)) / 2.0;
        chart.draw_series(strip.nearest.iter().enumerate().map(|(index, nearest)| {
            let from = if index == 0 { x.range.start } else { place(index) };
            let to = if index == last { x.range.end } else { place(index + 1) };
            let corners = [(from, row as f64 - HALF), (to, row as f64 + HALF)];
            Rectangle::new(corners, color(&nearest.predictor).filled())
        }))?;
        if let Some(end) = strip.nearest.last() {
            let (right, height) = chart.backend_coord(&(x.range.end, row as f64));
            let ink = darker(color(&end.predictor), 0.75);
            let label = shorten(&predictor_style(legend, &end.predictor, 0).label, LONGEST_LABEL);
            write(area, &label, (right - left + LEADER, height - top), ink, HPos::Left)?;
        }
    }
    Ok(())
}

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let rows = shown.rows()?;
    let caption = algorithms_caption(&rows, shown.legend);
    let section = Section::figure(FIGURE, "What the model computes", caption, algorithms(&rows, shown.legend))?;
    Ok(section.into_iter().collect())
}

/// Which predictor the answers are nearest to, phase by phase.
fn algorithms_caption(rows: &[AlgorithmRow], legend: &Legend) -> String {
    let nearest = nearest(rows, legend, None, None);
    let Some(last) = nearest.last() else { return String::new() };
    let phases = nearest.chunk_by(|a, b| a.predictor == b.predictor).map(|phase| {
        let label = predictor_style(legend, &phase[0].predictor, 0).label;
        match (phase[0].step, phase[phase.len() - 1].step) {
            (from, to) if to == last.step => format!("{label} from step {from} on"),
            (from, to) if from == to => format!("{label} at step {from}"),
            (from, to) => format!("{label} from step {from} to {to}"),
        }
    });
    let course = phases.collect::<Vec<_>>().join(", ");
    format!(
        "Of the closed-form predictors the model's answers are nearest to: {course}. At step {} their squared distance is {:.4} \
         of E[y²].",
        last.step, last.distance
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, checkpoints, legend, names};

    const PREDICTORS: [&str; 8] =
        ["zero", "ridge", "bayes", "oracle", "least_squares", "lasso", "merged_but_B1", "merged_but_B2"];

    /// Nearest to zero, then ridge, then one basis apart, then Bayes; later for each further concept.
    fn rows(concepts: usize, pairs: usize, steps: &[usize]) -> Vec<AlgorithmRow> {
        let mut rows = Vec::new();
        let cells = std::iter::once((None, None))
            .chain(names(concepts).into_iter().map(|name| (Some(name), None)))
            .chain((1..=pairs).map(|pair| (None, Some(pair))));
        for (delay, (concept, position)) in cells.enumerate() {
            for (&step, (place, predictor)) in
                steps.iter().flat_map(|step| PREDICTORS.iter().enumerate().map(move |p| (step, p)))
            {
                let when = [0.0, 1500.0, 9000.0, 9000.0, 2500.0, 1800.0, 5000.0, 6000.0][place];
                let away = (step as f64 - when - 200.0 * delay as f64) / 4000.0;
                let distance = 0.01 + 0.4 * (1.0 - (-away * away).exp());
                let (predictor, concept) = ((*predictor).to_owned(), concept.clone());
                rows.push(AlgorithmRow { step, predictor, concept, position, distance, relative_mse: 0.5 });
            }
        }
        rows
    }

    #[test]
    fn shows_every_predictor_but_the_oracle_and_a_strip_a_concept_and_pair() {
        let svg = algorithms(&rows(4, 10, &checkpoints()), &legend(4)).unwrap();
        check("algorithms", &svg);
        let labels =
            ["zero", "lasso", "least squares", "Bayes mixture", "B1 known, rest lumped", "pair 10", "log scale"];
        for label in names(4).iter().map(String::as_str).chain(labels) {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert!(!svg.contains("oracle"));
        let bare = algorithms(&rows(4, 10, &[0]), &legend(4)).unwrap().matches("<rect").count();
        assert_eq!(svg.matches("<rect").count() - bare, 15 * (checkpoints().len() - 1));
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("algorithms-one", &algorithms(&rows(1, 1, &[0]), &legend(1)).unwrap());
        check("algorithms-long", &algorithms(&rows(12, 40, &[0, 10, 20]), &legend(12)).unwrap());
        let mut odd = rows(2, 3, &[0, 10, 20]);
        odd.iter_mut().step_by(5).for_each(|row| row.distance = f64::NAN);
        odd.iter_mut().skip(1).step_by(7).for_each(|row| row.distance = 0.0);
        check("algorithms-odd", &algorithms(&odd, &legend(2)).unwrap());
        odd.retain(|row| row.concept.is_none() && row.position.is_none());
        check("algorithms-overall", &algorithms(&odd, &legend(2)).unwrap());
    }

    #[test]
    fn empty_table_is_named() {
        assert!(matches!(algorithms(&[], &legend(1)), Err(PlotError::Empty { figure: "algorithms", .. })));
    }
}
