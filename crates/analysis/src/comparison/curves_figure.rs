//! Groups of runs side by side: mean error and mean decodability, over the same training steps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::style::{GREY, UNITS};
use plots::ticks::{compact_number, extent, labelled, log_axis, number, thousandths, ticks};
use probe::ProbeKind;

use super::axis::line_labels;
use super::{CurveRow, Measure, compare_labels};
use crate::show::in_order;
use crate::style::accuracy_of;

const FIGURE: &str = "comparison";
const HEIGHT: u32 = 830 * UNITS;
const UPPER: u32 = 400 * UNITS;

/// Draws mean error (above) and mean accuracy of `probe` (below) against the training step, with a band from the lowest to the
/// highest run: one line a group, or one a concept, in the order of `concepts`, if there is only one group.
///
/// # Units
/// Error is over the optimal predictor's if every group has that, and else over the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if there is no row to draw.
pub(super) fn comparison(rows: &[CurveRow], probe: ProbeKind, concepts: &[String]) -> Result<String, PlotError> {
    let series = series(rows, concepts);
    let bayes = lines(&series, Measure::OverBayes);
    let (errors, title) = if bayes.len() == series.len() {
        (bayes, "error / optimal error")
    } else {
        (lines(&series, Measure::Error), "squared error / E[y²]")
    };
    let steps = extent(series.iter().flat_map(|(_, rows)| rows).map(|row| row.step as f64));
    let heights = extent(errors.iter().flat_map(|(_, rows)| rows.iter().flat_map(|row| [row.lo, row.hi])));
    let (Some(steps), Some(heights)) = (steps, heights) else {
        return Err(PlotError::Empty { figure: FIGURE, origin: "curves.csv" });
    };
    let names: Vec<&str> = series.iter().map(|(name, _)| *name).collect();
    let (by, labels) = line_labels(&names);
    let x = Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number));
    let (y, scale) = log_axis(title, &heights);
    let upper =
        Panel { title: heading(&format!("Error{by}"), rows), x: x.bare(), y, curves: curves(&errors, &labels, scale) };
    let ends = 0.0..1.0;
    let y = Axis::new(accuracy_of(probe), ends.clone(), labelled(ticks(&ends, 5), number));
    let title = format!("{} at the layer that is best at the end", accuracy_of(probe));
    let mut decoded = chance_levels(&series, &steps);
    decoded.extend(curves(&lines(&series, Measure::Cd), &labels, |cd| cd));
    let lower = Panel { title, x, y, curves: decoded };
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

/// The name of a line, and its rows.
type Series<'a> = (&'a str, Vec<&'a CurveRow>);

/// Every line: the groups in the order of their labels, or the concepts of the only group.
fn series<'a>(rows: &'a [CurveRow], concepts: &[String]) -> Vec<Series<'a>> {
    let one = rows.iter().map(|row| &row.group).collect::<BTreeSet<_>>().len() == 1;
    let mut series: BTreeMap<&str, Vec<&CurveRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.concept.is_some() == one && row.mean.is_finite()) {
        series.entry(row.concept.as_deref().unwrap_or(&row.group)).or_default().push(row);
    }
    let mut names: Vec<&str> = series.keys().copied().collect();
    if one {
        names = in_order(names, concepts);
    } else {
        names.sort_by(|a, b| compare_labels(a, b));
    }
    names.into_iter().map(|name| (name, series.remove(name).unwrap_or_default())).collect()
}

/// The series that have a measure, with its rows.
fn lines<'a>(series: &[Series<'a>], measure: Measure) -> Vec<Series<'a>> {
    let of = |(name, rows): &Series<'a>| {
        let rows: Vec<&CurveRow> = rows.iter().copied().filter(|row| row.measure == measure).collect();
        (!rows.is_empty()).then_some((*name, rows))
    };
    series.iter().filter_map(of).collect()
}

fn curves(lines: &[Series<'_>], labels: &BTreeMap<&str, String>, scale: fn(f64) -> f64) -> Vec<Curve> {
    let curve = |(index, (name, rows)): (usize, &Series<'_>)| {
        let color = if lines.len() == 1 { GREY } else { color_of(index) };
        let band = rows.iter().map(|row| (row.step as f64, scale(row.lo)..scale(row.hi)));
        Curve::new(&labels[name], color, rows.iter().map(|row| (row.step as f64, scale(row.mean)))).with_band(band)
    };
    lines.iter().enumerate().map(curve).collect()
}

/// A dashed line for every level of guessing.
fn chance_levels(series: &[Series<'_>], steps: &Range<f64>) -> Vec<Curve> {
    let rows = lines(series, Measure::Chance);
    let mut levels: Vec<f64> = rows.iter().flat_map(|(_, rows)| rows.iter().map(|row| thousandths(row.mean))).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let line = |&level: &f64| {
        let ends = [steps.start, steps.end].map(|step| (step, level));
        Curve::new(&format!("chance {}", number(level)), GREY, ends).dashed((4, 10))
    };
    levels.iter().map(line).collect()
}

fn heading(what: &str, rows: &[CurveRow]) -> String {
    let runs = rows.iter().map(|row| row.n).max().unwrap_or(0);
    match runs {
        1 => format!("{what}, one run each"),
        _ => format!("{what}: mean of up to {runs} seeds, band from the lowest to the highest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, checkpoints, names, noise};

    fn rows(groups: &[String], concepts: &[Option<String>], bayes: bool) -> Vec<CurveRow> {
        let mut rows = Vec::new();
        for (i, (group, concept)) in
            groups.iter().flat_map(|group| concepts.iter().map(move |c| (group, c))).enumerate()
        {
            for step in checkpoints() {
                let way = 1.0 / (1.0 + (-(step as f64 - 4000.0 - 500.0 * i as f64) / 600.0).exp());
                let mut row = |measure: Measure, mean: f64| {
                    let (group, concept) = (group.clone(), concept.clone());
                    rows.push(CurveRow { group, concept, step, measure, mean, lo: 0.9 * mean, hi: 1.08 * mean, n: 5 });
                };
                row(Measure::Error, 0.8 - 0.6 * way);
                row(Measure::Chance, 0.25);
                row(Measure::Cd, 0.25 + 0.6 * way + 0.02 * noise(step + i));
                if bayes {
                    row(Measure::OverBayes, 4.0 - 2.9 * way);
                }
            }
        }
        rows
    }

    #[test]
    fn groups_are_lines_with_bands() {
        let groups = ["rank = 1", "rank = 2", "rank = 4"].map(str::to_owned);
        let concepts = [None, Some("B1 (0,1)".to_owned())];
        let svg = comparison(&rows(&groups, &concepts, true), ProbeKind::CD, &names(4)).unwrap();
        check("comparison", &svg);
        assert_eq!(svg.matches("<polygon").count(), 2 * groups.len());
        for label in ["rank = 1", "rank = 4", "optimal error", "5 seeds", "chance 0.25"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn groups_of_long_names_are_told_apart() {
        let groups = [0.001, 0.01].map(|rate| format!("batch_size = 128, learning_rate = {rate}"));
        let svg = comparison(&rows(&groups, &[None], true), ProbeKind::CD, &names(4)).unwrap();
        check("comparison-long", &svg);
        for label in ["Error by batch_size, learning_rate", "128, 0.001", "128, 0.01"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn one_group_is_shown_by_concept() {
        let concepts: Vec<Option<String>> = names(4).into_iter().map(Some).chain([None]).collect();
        let svg = comparison(&rows(&["main".to_owned()], &concepts, false), ProbeKind::CD, &names(4)).unwrap();
        check("comparison-concepts", &svg);
        assert!(svg.contains("first half") && svg.contains("E[y²]") && !svg.contains(">main<"));
    }

    #[test]
    fn odd_rows_are_drawn_and_no_rows_are_named() {
        assert!(matches!(
            comparison(&[], ProbeKind::CD, &names(4)),
            Err(PlotError::Empty { figure: "comparison", .. })
        ));
        let mut odd = rows(&names(12), &[None], true);
        odd[0].mean = f64::NAN;
        odd[1].hi = f64::INFINITY;
        check("comparison-odd", &comparison(&odd, ProbeKind::CD, &names(4)).unwrap());
        odd.iter_mut().for_each(|row| (row.mean, row.lo, row.hi) = (0.0, 0.0, 0.0));
        check("comparison-zero", &comparison(&odd, ProbeKind::CD, &names(4)).unwrap());
    }
}
