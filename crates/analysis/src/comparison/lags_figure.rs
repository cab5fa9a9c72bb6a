//! Which comes first: the lag of decodability behind the error, run by run, with its mean.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::color::{color_of, darker};
use plots::labels::shorten;
use plots::panel::{Axis, Curve, Panel};
use plots::style::{GREY, UNITS};
use plots::ticks::{compact_number, extent, labelled, ticks};
use probe::ProbeKind;

use super::{FallFrom, LagRow, compare_labels};
use crate::show::in_order;
use crate::style::accuracy_in_short;

/// Height of a line of dots, and of everything around the lines.
const ROW: u32 = 44 * UNITS;
const AROUND: u32 = 130 * UNITS;
/// More lines than this are no picture any more.
const MOST_ROWS: usize = 24;
/// Longer names of lines are cut.
const LONGEST_NAME: usize = 28;

/// Draws, for every concept, each run's lag as a dot and the mean over runs with its 95% interval; if there are several
/// groups, the mean over the concepts of each. Concepts stand in the order of `concepts`.
///
/// Both events are at half of their way, decodability's by `probe`; the error's begins at the level of ridge regression
/// or at the untrained model's, a line for each, and a third one has the switch to the optimal predictor's answers in
/// its place. The first 24 lines are shown.
///
/// # Errors
/// [`PlotError::Empty`] if there is no such row.
pub(super) fn lags(rows: &[LagRow], probe: ProbeKind, concepts: &[String]) -> Result<String, PlotError> {
    let one = rows.iter().map(|row| &row.group).collect::<BTreeSet<_>>().len() == 1;
    let half = |row: &&LagRow| row.share == 0.5 && row.lag.is_finite() && (one || row.concept.is_none());
    let shown: Vec<&LagRow> = rows.iter().filter(half).collect();
    let names = in_order(shown.iter().filter_map(|row| row.concept.as_deref()), concepts);
    let place = |concept: &str| names.iter().position(|name| *name == concept);
    let key = |row: &LagRow| Line {
        group: row.group.clone(),
        concept: row.concept.as_deref().and_then(place).unwrap_or(names.len()),
        from: row.from,
    };
    let mut lines: Vec<_> = shown.iter().map(|row| key(row)).collect::<BTreeSet<_>>().into_iter().collect();
    lines.sort_by(|a, b| compare_labels(&a.group, &b.group));
    lines.truncate(MOST_ROWS);
    let ends = shown.iter().flat_map(|row| [Some(row.lag), row.lo, row.hi]).flatten().chain([0.0]);
    let Some(ends) = extent(ends).filter(|_| !lines.is_empty()) else {
        return Err(PlotError::Empty { figure: "lags", origin: "lag.csv" });
    };
    let space = 0.04 * (ends.end - ends.start).max(1.0);
    let ends = ends.start - space..ends.end + space;
    let name = |Line { group, concept, from }: &Line| {
        let name = if one { names.get(*concept).copied().unwrap_or("mean") } else { group };
        format!("{}, {}", shorten(name, LONGEST_NAME), look(*from).0)
    };
    let at = |index: usize| (lines.len() - index) as f64;
    let heights = 0.4..lines.len() as f64 + 0.6;
    let marks = lines.iter().enumerate().map(|(index, line)| (at(index), name(line))).collect();
    let zero = [(0.0, heights.start), (0.0, heights.end)];
    let mut curves = vec![Curve::new("", GREY, zero).dashed((8, 8))];
    for (index, line) in lines.iter().enumerate() {
        let color = color_of(look(line.from).1);
        let here = || shown.iter().filter(|row| key(row) == *line);
        curves
            .push(Curve::new("", color, here().filter(|row| row.run.is_some()).map(|row| (row.lag, at(index)))).dots());
        for row in here().filter(|row| row.run.is_none()) {
            let interval = [row.lo, row.hi].into_iter().flatten().map(|end| (end, at(index)));
            curves.push(Curve::new("", color, interval));
            curves.push(Curve::new(&mean_text(row), darker(color, 0.6), [(row.lag, at(index))]));
        }
    }
    let read = accuracy_in_short(probe);
    let title = format!("Lag of {read} behind error, at half of the way");
    let about = format!("steps: left of 0 {read} rises first, right of 0 the error falls first");
    let x = Axis::new(about, ends.clone(), labelled(ticks(&ends, 5), compact_number));
    let panel = Panel { title, x, y: Axis::new("", heights, marks), curves };
    let height = AROUND + ROW * lines.len() as u32;
    panel.figure(height)
}

/// What a line of dots is of, in the order in which lines stand.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    group: String,
    /// Place of the concept; that of a mean over concepts is the last.
    concept: usize,
    from: FallFrom,
}

/// Name and number of the colour of the place that a fall begins at.
fn look(from: FallFrom) -> (&'static str, usize) {
    match from {
        FallFrom::Ridge => ("ridge", 0),
        FallFrom::Initial => ("initial", 1),
        FallFrom::Switch => ("switch", 2),
    }
}

fn mean_text(row: &LagRow) -> String {
    let interval = row.lo.zip(row.hi).map_or(String::new(), |(lo, hi)| format!(" [{lo:.0}, {hi:.0}]"));
    format!("{:.0}{interval}, n = {}", row.lag, row.n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, names};

    const FROM: [FallFrom; 3] = [FallFrom::Ridge, FallFrom::Initial, FallFrom::Switch];

    fn planted(groups: &[&str], concepts: usize) -> Vec<LagRow> {
        let mut rows = Vec::new();
        let concepts: Vec<Option<String>> = names(concepts).into_iter().map(Some).chain([None]).collect();
        let cells = groups.iter().flat_map(|group| concepts.iter().map(move |concept| (group, concept)));
        for ((group, concept), from) in cells.flat_map(|cell| FROM.map(|from| (cell, from))) {
            let early = if from == FallFrom::Initial { 0.0 } else { 1500.0 };
            let centre = 150.0 * concept.as_ref().map_or(1, String::len) as f64 - early;
            let row = |run: Option<&str>, lag: f64, width: Option<f64>| LagRow {
                group: (*group).to_owned(),
                run: run.map(str::to_owned),
                concept: concept.clone(),
                from,
                share: 0.5,
                error_step: 4000.0,
                cd_step: 4000.0 + lag,
                lag,
                lo: width.map(|width| lag - width),
                hi: width.map(|width| lag + width),
                n: 3,
                resolution: 250.0,
            };
            if concept.is_some() {
                rows.extend(
                    [("a", -300.0), ("b", 20.0), ("c", 400.0)].map(|(run, by)| row(Some(run), centre + by, None)),
                );
            }
            rows.push(row(None, centre + 40.0, Some(870.0)));
        }
        rows
    }

    #[test]
    fn every_concept_has_its_runs_and_their_mean() {
        let svg = lags(&planted(&["main"], 4), ProbeKind::CD, &names(4)).unwrap();
        check("lags", &svg);
        for label in ["alternating, ridge", "mean, initial", "n = 3", "CD rises first"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn many_groups_stay_legible_and_no_rows_are_named() {
        let groups = ["a group with quite a long name", "b", "c", "d", "e", "f", "g"];
        check("lags-many", &lags(&planted(&groups, 4), ProbeKind::Quadratic, &names(4)).unwrap());
        let mut one = planted(&["b"], 1);
        one.truncate(1);
        check("lags-one", &lags(&one, ProbeKind::CD, &names(4)).unwrap());
        assert!(matches!(lags(&[], ProbeKind::CD, &names(4)), Err(PlotError::Empty { figure: "lags", .. })));
    }
}
