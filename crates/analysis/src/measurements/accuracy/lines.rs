//! CD above and accuracy below, along the number of demonstrations or the steps of pretraining.

use std::ops::Range;

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::style::{GREY, INK, UNITS};
use plots::ticks::{compact_number, extent, labelled, log_ticks, number, padded, thousandths, ticks};

use super::points::{Point, shots_among, steps_among};

const HEIGHT: u32 = 830 * UNITS;
const UPPER: u32 = 400 * UNITS;
/// Steps further apart than this, largest over smallest, are drawn on a logarithmic axis.
const FAR_APART: f64 = 30.0;

/// Draws CD at the best layer (above) and the share of exact answers (below) against the number of demonstrations at the
/// last step: a line for every concept, with a bar for its 95% interval, and one over all with a band.
///
/// # Errors
/// [`PlotError::Empty`] if there are fewer than two numbers of demonstrations.
pub(super) fn shots(points: &[Point], concepts: &[&str]) -> Result<String, PlotError> {
    let last = steps_among(points).pop_last();
    let points: Vec<&Point> = points.iter().filter(|point| Some(point.answers.step) == last).collect();
    let along: Vec<f64> = points.iter().map(|point| point.answers.shots as f64).collect();
    let range = extent(along.iter().copied()).filter(|range| range.end > range.start);
    let range = range.ok_or(PlotError::Empty { figure: "shots", origin: "accuracy.csv (of two or more shots)" })?;
    let mut marks = along;
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    let x = Axis::new("demonstrations", padded(&range), labelled(marks, number));
    draw(&points, concepts, x, |point| point.answers.shots as f64)
}

/// The same against the step of pretraining, after the most demonstrations. Steps that are far apart are drawn on a
/// logarithmic axis, on which step 0 has the place of step 1.
///
/// # Errors
/// [`PlotError::Empty`] if there are fewer than two steps.
pub(super) fn pretraining(points: &[Point], concepts: &[&str]) -> Result<String, PlotError> {
    let most = shots_among(points).pop_last();
    let points: Vec<&Point> = points.iter().filter(|point| Some(point.answers.shots) == most).collect();
    let range = extent(points.iter().map(|point| point.answers.step as f64)).filter(|range| range.end > range.start);
    let range =
        range.ok_or(PlotError::Empty { figure: "pretraining", origin: "accuracy.csv (of two or more steps)" })?;
    let title = "step of pretraining";
    if range.end / range.start.max(1.0) < FAR_APART {
        let marks = labelled(ticks(&range, 8), compact_number);
        return draw(&points, concepts, Axis::new(title, padded(&range), marks), |point| point.answers.step as f64);
    }
    let place = |step: f64| step.max(1.0).log10();
    let range = place(range.start)..place(range.end);
    let marks = log_ticks(&range).into_iter().map(|step| (step.log10(), compact_number(step))).collect();
    let x = Axis::new(format!("{title} (log scale)"), padded(&range), marks);
    draw(&points, concepts, x, |point| place(point.answers.step as f64))
}

/// What a panel shows of a point, and its interval.
type Value = fn(&Point) -> (f64, Range<f64>);

fn draw(points: &[&Point], concepts: &[&str], x: Axis, place: impl Fn(&Point) -> f64) -> Result<String, PlotError> {
    let read: Value = |point| (point.read.score, point.read.lo..point.read.hi);
    let answered: Value = |point| (point.answers.accuracy, point.answers.lo..point.answers.hi);
    let chance = points[0].read.chance;
    let ends = [x.range.start, x.range.end].map(|x| (x, chance));
    let text = format!("chance {}", number(thousandths(chance)));
    let mut above = vec![Curve::new(&text, GREY, ends).dashed((4, 10))];
    above.extend(curves(points, concepts, &place, read));
    let upper = Panel {
        title: "Concept Decodability at the best layer, with 95% interval".to_owned(),
        x: x.bare(),
        y: Axis::new("Concept Decodability", 0.0..1.02, labelled(ticks(&(0.0..1.0), 5), number)),
        curves: above,
    };
    let below = curves(points, concepts, &place, answered);
    let top = below.iter().flat_map(Curve::reach).fold(0.0, f64::max).clamp(0.05, 1.0);
    let lower = Panel {
        title: "Exact answers, with 95% interval".to_owned(),
        x,
        y: Axis::new("share of exact answers", 0.0..1.02 * top, labelled(ticks(&(0.0..top), 5), number)),
        curves: below,
    };
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

fn curves(points: &[&Point], concepts: &[&str], place: &impl Fn(&Point) -> f64, value: Value) -> Vec<Curve> {
    let of = |concept: Option<&str>| -> Vec<&Point> {
        let mut here: Vec<&Point> =
            points.iter().copied().filter(|point| point.answers.concept.as_deref() == concept).collect();
        here.sort_by(|a, b| place(a).total_cmp(&place(b)));
        here
    };
    let line = |points: &[&Point]| points.iter().map(|point| (place(point), value(point).0)).collect::<Vec<_>>();
    let intervals = |points: &[&Point]| points.iter().map(|point| (place(point), value(point).1)).collect::<Vec<_>>();
    let mut curves: Vec<Curve> = concepts
        .iter()
        .enumerate()
        .map(|(index, concept)| {
            let here = of(Some(concept));
            let discs = line(&here).into_iter().map(|at| (at, 4));
            Curve::new(concept, color_of(index), line(&here)).with_bars(intervals(&here)).with_discs(discs)
        })
        .collect();
    let all = of(None);
    curves.push(Curve::new("all", INK, line(&all)).with_band(intervals(&all)));
    curves
}

#[cfg(test)]
mod tests {
    use super::super::points::planted;
    use super::*;
    use crate::planted::{CLASSES, check};

    #[test]
    fn every_concept_is_a_line_in_both_panels() {
        let svg = shots(&planted(&[0, 1, 4, 10], &[0]), &CLASSES).unwrap();
        check("shots", &svg);
        for label in CLASSES.iter().chain(&["all", "chance 0.167", "demonstrations", "share of exact answers"]) {
            assert!(svg.contains(label), "{label} is missing");
        }
        let svg = pretraining(&planted(&[1, 4], &[1000, 4000, 16_000, 64_000, 256_000]), &CLASSES).unwrap();
        check("pretraining", &svg);
        assert!(svg.contains("step of pretraining (log scale)") && svg.contains("100k"));
        check("pretraining-linear", &pretraining(&planted(&[4], &[100, 200, 300]), &CLASSES).unwrap());
    }

    #[test]
    fn one_number_of_demonstrations_or_one_step_is_no_line() {
        let points = planted(&[4], &[0]);
        assert!(matches!(shots(&points, &CLASSES), Err(PlotError::Empty { figure: "shots", .. })));
        assert!(matches!(pretraining(&points, &CLASSES), Err(PlotError::Empty { figure: "pretraining", .. })));
        assert!(matches!(shots(&[], &CLASSES), Err(PlotError::Empty { .. })));
    }
}
