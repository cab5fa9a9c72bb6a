//! CD against accuracy: whether concepts that can be read are concepts that are answered.

use plots::PlotError;
use plots::color::color_of;
use plots::page::ReportTable;
use plots::panel::{Axis, Curve, Panel};
use plots::style::{GREY, UNITS};
use plots::ticks::{extent, labelled, number, thousandths, ticks};

use super::points::{Point, points, shots_among, steps_among};
use crate::comparison::{pearson, spearman};
use crate::measurements::Bootstrap;
use crate::show::{Shown, in_task_order, once_each};
use crate::{DecodabilityRow, MeasureError};

const HEIGHT: u32 = 600 * UNITS;
/// Radius of a disc after the fewest demonstrations, and what it grows by for every number more, in CSS pixels.
const RADIUS: [u32; 2] = [4, 2];

/// How well CD at the best layer and accuracy go together, a concept after some demonstrations being one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CorrelationOfText {
    /// Points.
    pub n: usize,
    /// The square of Pearson's correlation, which is the share of the variance that a line explains.
    pub r_squared: f64,
    /// Lower end of the 95% interval of `r_squared`.
    pub lo: f64,
    /// Upper end of it.
    pub hi: f64,
    /// Spearman's correlation of the ranks, −1 to 1.
    pub spearman: f64,
}

/// The correlation over all concepts, numbers of demonstrations and steps; none where there are fewer than three points, or
/// one of the two does not vary. The interval is that of a bootstrap in which concepts are drawn, each with all its points,
/// because the points of a concept depend on each other.
///
/// # Errors
/// When a table cannot be read.
pub fn cd_accuracy(shown: &Shown<'_>) -> Result<Option<CorrelationOfText>, MeasureError> {
    Ok(CorrelationOfText::of(&each(&points(shown)?)))
}

/// Those of single concepts.
fn each(points: &[Point]) -> Vec<&Point> {
    points.iter().filter(|point| point.answers.concept.is_some()).collect()
}

/// CD and accuracy.
fn place(point: &Point) -> (f64, f64) {
    (point.read.score, point.answers.accuracy)
}

impl CorrelationOfText {
    fn of(points: &[&Point]) -> Option<Self> {
        let all: Vec<(f64, f64)> = points.iter().map(|point| place(point)).collect();
        let (r, spearman) = (pearson(&all)?, spearman(&all)?);
        let concepts = once_each(points.iter().map(|point| &point.answers.concept));
        let of_concept = |concept: &Option<String>| -> Vec<(f64, f64)> {
            points.iter().filter(|point| point.answers.concept == *concept).map(|point| place(point)).collect()
        };
        let groups: Vec<Vec<(f64, f64)>> = concepts.into_iter().map(of_concept).collect();
        let drawn = |set: &[u32]| {
            let points: Vec<(f64, f64)> = set.iter().flat_map(|&group| groups[group as usize].clone()).collect();
            pearson(&points).map(|r| r * r)
        };
        let [lo, hi] = Bootstrap::new(0, groups.len()).interval(drawn)?;
        Some(Self { n: all.len(), r_squared: r * r, lo, hi, spearman })
    }
}

/// Draws accuracy against CD at the best layer: a colour for every concept, and the larger a disc, the more demonstrations.
/// A line joins the points of a concept where there is one step. Upright bars are 95% intervals of accuracy; dashed is the
/// line of least squares.
///
/// # Errors
/// [`PlotError::Empty`] if there is no point of a concept.
pub(super) fn figure(points: &[Point], concepts: &[&str]) -> Result<String, PlotError> {
    let (shots, one_step) = (shots_among(points), steps_among(points).len() == 1);
    let each = each(points);
    let radius = |point: &Point| {
        let rank = shots.iter().position(|&shots| shots == point.answers.shots).unwrap_or(0);
        RADIUS[0] + RADIUS[1] * rank.min(5) as u32
    };
    let Some(read) = extent(each.iter().map(|point| point.read.score)) else {
        return Err(PlotError::Empty { figure: "cd_accuracy", origin: "accuracy.csv and cd.csv (of single concepts)" });
    };
    let chance = each[0].read.chance;
    let ends = (read.start.min(chance) - 0.02).max(0.0)..(read.end + 0.02).min(1.02);
    let mut curves: Vec<Curve> = fit(&each)
        .map(|line| {
            let ends = [read.start, read.end].map(|x| (x, line(x)));
            Curve::new("least squares", GREY, ends).dashed((14, 10))
        })
        .into_iter()
        .collect();
    for (index, concept) in concepts.iter().enumerate() {
        let mut here: Vec<&Point> =
            each.iter().copied().filter(|point| point.answers.concept.as_deref() == Some(concept)).collect();
        here.sort_by_key(|point| (point.answers.step, point.answers.shots));
        let discs = here.iter().map(|point| (place(point), radius(point)));
        let bars = here.iter().map(|point| (point.read.score, point.answers.lo..point.answers.hi));
        let curve = Curve::new(concept, color_of(index), here.iter().map(|point| place(point)));
        let curve = if one_step { curve } else { curve.dots() };
        curves.push(curve.with_bars(bars).with_discs(discs));
    }
    let top = curves.iter().flat_map(Curve::reach).fold(0.0, f64::max).clamp(0.05, 1.0);
    let y = Axis::new("share of exact answers", 0.0..1.02 * top, labelled(ticks(&(0.0..top), 6), number));
    let title = format!("Concept Decodability at the best layer (chance {})", number(thousandths(chance)));
    let x = Axis::new(title, ends.clone(), labelled(ticks(&ends, 8), number));
    let panel = Panel { title: heading(CorrelationOfText::of(&each)), x, y, curves };
    panel.figure(HEIGHT)
}

/// Accuracy by CD as least squares have it; none where CD does not vary.
fn fit(points: &[&Point]) -> Option<impl Fn(f64) -> f64 + use<>> {
    let n = points.len() as f64;
    let mean = |of: fn(&Point) -> f64| points.iter().map(|point| of(point)).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.read.score), mean(|point| point.answers.accuracy));
    let product = points.iter().map(|point| (point.read.score - x) * (point.answers.accuracy - y)).sum::<f64>();
    let slope = product / points.iter().map(|point| (point.read.score - x).powi(2)).sum::<f64>();
    slope.is_finite().then_some(move |at| y + slope * (at - x))
}

fn heading(found: Option<CorrelationOfText>) -> String {
    match found {
        None => "Exact answers against CD".to_owned(),
        Some(CorrelationOfText { n, r_squared, lo, hi, spearman }) => {
            format!("Exact answers against CD: R² = {r_squared:.2} [{lo:.2}, {hi:.2}], ρ = {spearman:.2}, {n} points")
        }
    }
}

pub(super) const CAPTION: &str = "Share of exact answers against Concept Decodability at the layer that is best over all concepts. Each disc is a concept after some demonstrations; the larger it is, the more demonstrations there were, and a line joins the discs of a concept. Bars are 95% intervals of the accuracy, and the dashed line is that of least squares. Look for concepts that lie higher the further right they are. The interval of R² is a bootstrap over concepts: with few concepts it is wide. R² says nothing of which of the two comes first; the interventions do.";

/// R² and ρ over all points, and for each number of demonstrations where there are several; none where there is no
/// correlation.
pub(super) fn table(points: &[Point]) -> Option<ReportTable> {
    let each = each(points);
    let row = |name: String, found: CorrelationOfText| {
        let CorrelationOfText { n, r_squared, lo, hi, spearman } = found;
        let interval = format!("{lo:.3} – {hi:.3}");
        vec![name, n.to_string(), format!("{r_squared:.3}"), interval, format!("{spearman:.3}")]
    };
    let all = row("all".to_owned(), CorrelationOfText::of(&each)?);
    let shots = shots_among(points);
    let of_shots = |shots: usize| {
        let here: Vec<&Point> = each.iter().copied().filter(|point| point.answers.shots == shots).collect();
        Some(row(shots.to_string(), CorrelationOfText::of(&here)?))
    };
    let several = shots.iter().filter(|_| shots.len() > 1);
    Some(ReportTable {
        title: "CD against accuracy".to_owned(),
        caption: "How much of the variance of accuracy a line through CD explains (R²), with a bootstrap over concepts, and the correlation of the ranks (Spearman's ρ).".to_owned(),
        header: ["demonstrations", "points", "R²", "95% interval", "ρ"].map(str::to_owned).to_vec(),
        rows: std::iter::once(all).chain(several.filter_map(|&shots| of_shots(shots))).collect(),
    })
}

/// The concepts that there are rows of, in the task's order.
pub(super) fn concepts_of<'a>(points: &'a [Point], shown: &Shown<'_>) -> Vec<&'a str> {
    let named = |read: &'a DecodabilityRow| read.concept.as_deref();
    in_task_order(points.iter().filter_map(|point| named(&point.read)), shown.legend)
}

#[cfg(test)]
mod tests {
    use super::super::points::planted;
    use super::*;
    use crate::planted::{CLASSES, check};

    fn found(points: &[Point]) -> CorrelationOfText {
        CorrelationOfText::of(&each(points)).unwrap()
    }

    #[test]
    fn a_correlation_small_enough_for_the_head() {
        let mut points = planted(&[4], &[0]);
        points.retain(|point| point.answers.concept.is_some());
        points.truncate(4);
        for (point, (cd, accuracy)) in points.iter_mut().zip([(0.1, 0.1), (0.2, 0.3), (0.3, 0.2), (0.4, 0.4)]) {
            (point.read.score, point.answers.accuracy) = (cd, accuracy);
        }
        // Deviations −1.5, −.5, .5, 1.5 against −1.5, .5, −.5, 1.5: r = 4 / 5, and the values are their ranks.
        let CorrelationOfText { n, r_squared, lo, hi, spearman } = found(&points);
        assert!(n == 4 && (r_squared - 0.64).abs() < 1e-12 && (spearman - 0.8).abs() < 1e-12);
        assert!(lo < 0.64 && 0.64 < hi && lo >= 0.0 && hi <= 1.0, "{lo} {hi}");
        let line = fit(&each(&points)).unwrap();
        assert!((line(0.25) - 0.25).abs() < 1e-12 && (line(0.35) - 0.33).abs() < 1e-12);
        points.iter_mut().for_each(|point| point.read.score = 0.5);
        assert!(CorrelationOfText::of(&each(&points)).is_none() && fit(&each(&points)).is_none());
    }

    #[test]
    fn the_figure_has_a_disc_for_every_concept_and_number_of_demonstrations() {
        let points = planted(&[1, 4, 10], &[0]);
        let svg = figure(&points, &CLASSES).unwrap();
        check("cd-accuracy", &svg);
        assert_eq!(svg.matches("<circle").count(), 3 * CLASSES.len());
        for label in ["R² = ", "ρ = ", "18 points", "noun", "pronoun", "least squares", "chance 0.167"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        check("cd-accuracy-steps", &figure(&planted(&[4], &[500, 1000, 5000, 20_000]), &CLASSES).unwrap());
        check("cd-accuracy-one", &figure(&planted(&[4], &[0])[..2], &CLASSES).unwrap());
        assert!(matches!(figure(&[], &CLASSES), Err(PlotError::Empty { figure: "cd_accuracy", .. })));
    }

    #[test]
    fn the_table_has_every_number_of_demonstrations() {
        let names = |shots: &[usize]| -> Vec<String> {
            table(&planted(shots, &[0])).unwrap().rows.into_iter().map(|mut row| row.swap_remove(0)).collect()
        };
        assert_eq!(names(&[1, 4, 10]), ["all", "1", "4", "10"]);
        assert_eq!(names(&[4]), ["all"]);
        assert!(table(&[]).is_none());
    }
}
