//! Decodability against error, a dot for every concept of every run at every checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel};
use plots::style::UNITS;
use plots::ticks::{extent, labelled, log_axis, number, ticks};
use probe::ProbeKind;

use super::axis::line_labels;
use super::{CorrelationMethod, CorrelationRow, PointRow, Scope, compare_labels};
use crate::show::in_order;
use crate::style::{accuracy_in_short, accuracy_of};

const HEIGHT: u32 = 620 * UNITS;

/// Draws the accuracy of `probe` against error, coloured by group, or by concept, in the order of `concepts`, if there is
/// only one group. The title has Pearson's r and Spearman's ρ within runs.
///
/// # Units
/// Error is over the optimal predictor's if all rows have that, and else over the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `points` has no finite row of a concept.
pub(super) fn cd_against_error(
    points: &[PointRow],
    correlations: &[CorrelationRow],
    probe: ProbeKind,
    concepts: &[String],
) -> Result<String, PlotError> {
    let bayes = points.iter().all(|row| row.over_bayes.is_some());
    let title = if bayes { "error / optimal error" } else { "squared error / E[y²]" };
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
    let mut names: Vec<&str> = series.keys().copied().collect();
    if one {
        names = in_order(names, concepts);
    } else {
        names.sort_by(|a, b| compare_labels(a, b));
    }
    let (by, labels) = line_labels(&names);
    let curves = names.iter().enumerate().map(|(index, name)| {
        Curve::new(&labels[name], color_of(index), series[name].iter().map(|(error, cd)| (scale(*error), *cd))).dots()
    });
    let panel = Panel { title: heading(correlations, probe, &by), x, y, curves: curves.collect() };
    panel.figure(HEIGHT)
}

fn heading(correlations: &[CorrelationRow], probe: ProbeKind, by: &str) -> String {
    let text = |(method, symbol): (CorrelationMethod, &str)| {
        let here = |row: &&CorrelationRow| row.group.is_none() && row.scope == Scope::Within && row.method == method;
        let row = correlations.iter().find(here)?;
        let interval = row.lo.zip(row.hi).map_or(String::new(), |(lo, hi)| format!(" [{lo:.2}, {hi:.2}]"));
        Some(format!("{symbol} = {:.2}{interval}", row.r))
    };
    let found: Vec<String> =
        [(CorrelationMethod::Pearson, "r"), (CorrelationMethod::Spearman, "ρ")].into_iter().filter_map(text).collect();
    let within = if found.is_empty() { String::new() } else { format!(", within runs: {}", found.join(", ")) };
    format!("{} against error{by}{within}", accuracy_in_short(probe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, names, noise};

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

    fn correlation(method: CorrelationMethod) -> CorrelationRow {
        let scope = Scope::Within;
        CorrelationRow { group: None, scope, method, r: -0.93, lo: Some(-0.97), hi: Some(-0.88), runs: 5, points: 60 }
    }

    #[test]
    fn dots_of_one_group_are_coloured_by_concept() {
        let correlations = [CorrelationMethod::Pearson, CorrelationMethod::Spearman].map(correlation);
        let svg = cd_against_error(&points(&["main"], 4), &correlations, ProbeKind::CD, &names(4)).unwrap();
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
        let svg = cd_against_error(&rows, &[], ProbeKind::CD, &[]).unwrap();
        check("cd-error-odd", &svg);
        assert!(svg.contains("E[y²]"));
        rows.iter_mut().for_each(|row| row.concept = None);
        assert!(matches!(cd_against_error(&rows, &[], ProbeKind::CD, &[]), Err(PlotError::Empty { .. })));
    }
}
