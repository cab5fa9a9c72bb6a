//! Decodability against error, a dot for every concept of every run at every checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel};
use plots::style::{UNITS, WIDTH, canvas};
use plots::ticks::{extent, labelled, log_axis, number, ticks};
use run::{CorrelationRow, PointRow, ProbeKind};

use super::words::{accuracy_in_short, accuracy_of};
use crate::comparison::compare_labels;

const HEIGHT: u32 = 620 * UNITS;

/// Draws the accuracy of `probe` against error, coloured by group, or by concept if there is only one group. The title has
/// Pearson's r and Spearman's ρ within runs.
///
/// # Units
/// Error is over the Bayes mixture's if all rows have that, and else over the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `points` has no finite row of a concept.
pub fn cd_against_error(
    points: &[PointRow],
    correlations: &[CorrelationRow],
    probe: ProbeKind,
) -> Result<String, PlotError> {
    let bayes = points.iter().all(|row| row.over_bayes.is_some());
    let title = if bayes { "error / Bayes mixture's" } else { "squared error / E[y²]" };
    let error = |row: &PointRow| row.over_bayes.filter(|_| bayes).unwrap_or(row.error);
    let one = points.iter().map(|row| &row.group).collect::<BTreeSet<_>>().len() == 1;
    let mut series: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in points.iter().filter(|row| error(row).is_finite() && row.cd.is_finite()) {
        if let Some(concept) = &row.concept {
            series.entry(if one { concept } else { &row.group }).or_default().push((error(row), row.cd));
        }
    }
    let Some(errors) = extent(series.values().flatten().map(|point| point.0)) else {
        return Err(PlotError::Empty { figure: "cd_against_error", origin: "points.csv (of single concepts)" });
    };
    let (x, scale) = log_axis(title, &errors);
    let ends = 0.0..1.0;
    let y = Axis::new(accuracy_of(probe), ends.clone(), labelled(ticks(&ends, 5), number));
    let mut series: Vec<_> = series.into_iter().collect();
    series.sort_by(|a, b| compare_labels(a.0, b.0));
    let curves = series.iter().enumerate().map(|(index, (name, dots))| {
        Curve::new(name, color_of(index), dots.iter().map(|(error, cd)| (scale(*error), *cd))).dots()
    });
    let panel = Panel { title: heading(correlations, probe), x, y, curves: curves.collect() };
    canvas((WIDTH, HEIGHT), |area| panel.draw(area, panel.margins()?))
}

fn heading(correlations: &[CorrelationRow], probe: ProbeKind) -> String {
    let text = |(method, symbol): (&str, &str)| {
        let here = |row: &&CorrelationRow| row.group.is_none() && row.scope == "within" && row.method == method;
        let row = correlations.iter().find(here)?;
        let interval = row.lo.zip(row.hi).map_or(String::new(), |(lo, hi)| format!(" [{lo:.2}, {hi:.2}]"));
        Some(format!("{symbol} = {:.2}{interval}", row.r))
    };
    let found: Vec<String> = [("pearson", "r"), ("spearman", "ρ")].into_iter().filter_map(text).collect();
    match found.as_slice() {
        [] => format!("{} against error", accuracy_in_short(probe)),
        found => format!("{} against error, within runs: {}", accuracy_in_short(probe), found.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, names, noise};
    use super::*;

    fn points(groups: &[&str], concepts: usize) -> Vec<PointRow> {
        let mut rows = Vec::new();
        for (group, concept) in
            groups.iter().flat_map(|group| names(concepts).into_iter().map(move |name| (group, name)))
        {
            rows.extend((0..60).map(|i| {
                let way = i as f64 / 60.0;
                let over_bayes = 4.0 - 2.9 * way + 0.3 * noise(i + concept.len());
                PointRow {
                    run: "a".to_owned(),
                    group: (*group).to_owned(),
                    seed: 0,
                    concept: Some(concept.clone()),
                    step: i,
                    error: 0.2 * over_bayes,
                    over_bayes: Some(over_bayes),
                    cd: 0.25 + 0.6 * way * way + 0.1 * noise(7 * i + group.len() + concept.len()),
                    chance: 0.25,
                }
            }));
        }
        rows
    }

    fn correlation(method: &str) -> CorrelationRow {
        let (scope, method) = ("within".to_owned(), method.to_owned());
        CorrelationRow { group: None, scope, method, r: -0.93, lo: Some(-0.97), hi: Some(-0.88), runs: 5, points: 60 }
    }

    #[test]
    fn dots_of_one_group_are_coloured_by_concept() {
        let svg =
            cd_against_error(&points(&["main"], 4), &["pearson", "spearman"].map(correlation), ProbeKind::CD).unwrap();
        check("cd-error", &svg);
        for label in ["first half", "sparse", "r = -0.93 [-0.97, -0.88]", "ρ = -0.93"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn odd_rows_are_drawn_and_no_rows_are_named() {
        let mut rows = points(&["a", "b"], 2);
        rows[3].cd = f64::NAN;
        rows[5].over_bayes = None;
        let svg = cd_against_error(&rows, &[], ProbeKind::CD).unwrap();
        check("cd-error-odd", &svg);
        assert!(svg.contains("E[y²]"));
        rows.iter_mut().for_each(|row| row.concept = None);
        assert!(matches!(cd_against_error(&rows, &[], ProbeKind::CD), Err(PlotError::Empty { .. })));
    }
}
