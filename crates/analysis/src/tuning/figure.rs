//! Exact answers before and after tuning.

use plots::PlotError;
use plots::color::color_of;
use plots::labels::fit;
use plots::panel::{Axis, Curve, Panel, draw_row};
use plots::style::{INK, UNITS, WIDTH, canvas};
use plots::ticks::{labelled, number, ticks};

use super::TuningRow;
use crate::show::once_each;

const HEIGHT: u32 = 560 * UNITS;
/// From the bar of a concept to that of the next, the distance of the two models being 1.
const BESIDE_EACH_OTHER: f64 = 0.025;
/// What axis and labels take beside the plots.
const BESIDE: u32 = 250 * UNITS;

/// Draws the share of exact answers of the first run (before) and of each other (after) in a panel of its own, after the most
/// demonstrations that all have: a line for every concept and one over all, with a bar for the 95% interval.
///
/// # Errors
/// [`PlotError::Empty`] if there are fewer than two runs, or none has a number of demonstrations in common with the first.
pub(super) fn tuning(rows: &[TuningRow]) -> Result<String, PlotError> {
    let empty = || PlotError::Empty { figure: "tuning", origin: "tuning.csv (of two or more runs)" };
    let runs = once_each(rows.iter().map(|row| row.run.as_str()));
    let (before, tuned) = runs.split_first().filter(|(_, tuned)| !tuned.is_empty()).ok_or_else(empty)?;
    let shots = once_each(rows.iter().map(|row| row.shots));
    let has = |run: &&str, shots: usize| rows.iter().any(|row| row.run == *run && row.shots == shots);
    let shots = shots.into_iter().filter(|&shots| runs.iter().all(|run| has(run, shots))).max().ok_or_else(empty)?;
    let here: Vec<&TuningRow> = rows.iter().filter(|row| row.shots == shots).collect();
    let concepts = once_each(here.iter().filter_map(|row| row.concept.as_deref()));
    let top = here.iter().map(|row| row.hi).fold(0.05, f64::max).min(1.0);
    let y = Axis::new(
        format!("exact answers after {shots} demonstrations"),
        0.0..1.02 * top,
        labelled(ticks(&(0.0..top), 5), number),
    );
    let room = WIDTH.saturating_sub(BESIDE) / tuned.len() as u32;
    let trainable_of = |run: &str| here.iter().find(|row| row.run == run).map_or("", |row| row.trainable.as_str());
    let panel = |run: &&str| {
        // Side by side, so that no bar hides another.
        let beside = |place: usize| BESIDE_EACH_OTHER * (place as f64 - concepts.len() as f64 / 2.0);
        let curve = |place: usize, concept: Option<&str>, color| {
            let ends = [(0.0, *before), (1.0, *run)].into_iter().filter_map(|(x, run)| {
                let row = here.iter().find(|row| row.run == run && row.concept.as_deref() == concept)?;
                Some((x + beside(place), *row))
            });
            let ends: Vec<(f64, &TuningRow)> = ends.collect();
            let points: Vec<(f64, f64)> = ends.iter().map(|(x, row)| (*x, row.accuracy)).collect();
            let discs = points.clone().into_iter().map(|at| (at, 4));
            let bars = ends.iter().map(|(x, row)| (*x, row.lo..row.hi));
            Curve::new(concept.unwrap_or("all"), color, points).with_bars(bars).with_discs(discs)
        };
        let each = concepts.iter().enumerate().map(|(index, concept)| curve(index, Some(concept), color_of(index)));
        let marks = [(0.0, "before".to_owned()), (1.0, "tuned".to_owned())];
        let trainable = trainable_of(run);
        // The name of a run has more than a panel has room for, and tells what another run of the same layers has not.
        let is_alone = tuned.iter().filter(|other| trainable_of(other) == trainable).count() == 1;
        let title = match trainable {
            "" => run.to_string(),
            _ if is_alone => format!("tuned layers: {}", trainable.replace('=', " ")),
            _ => format!("{trainable}, {run}"),
        };
        Ok(Panel {
            title: fit(&title, room * 9 / 10)?,
            x: Axis::new("model", -0.2..1.2, marks.to_vec()),
            y: y.clone(),
            curves: each.chain([curve(concepts.len(), None, INK)]).collect(),
        })
    };
    let panels = tuned.iter().map(panel).collect::<Result<Vec<_>, PlotError>>()?;
    canvas((WIDTH, HEIGHT), |area| draw_row(area, &panels))
}

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::*;
    use crate::planted::{CLASSES, check, noise};

    /// As in the paper: tuning the first layers helps more than tuning the last.
    fn rows(runs: &[(&str, &str, f64)]) -> Vec<TuningRow> {
        let mut rows = Vec::new();
        for (run, trainable, accuracy) in runs {
            for concept in [None].into_iter().chain(CLASSES.map(Some)) {
                let accuracy = (accuracy + 0.15 * noise(rows.len())).clamp(0.0, 1.0);
                rows.push(TuningRow {
                    run: (*run).to_owned(),
                    trainable: (*trainable).to_owned(),
                    concept: concept.map(str::to_owned),
                    shots: 4,
                    accuracy,
                    lo: (accuracy - 0.09).max(0.0),
                    hi: (accuracy + 0.09).min(1.0),
                    log_probability: -2.0,
                    layer: Some(Layer(21)),
                    cd: Some(0.9),
                    n: 100,
                });
            }
        }
        rows
    }

    #[test]
    fn every_tuned_run_has_a_panel() {
        let found = rows(&[("base", "", 0.25), ("first", "first=10", 0.7), ("last", "last=10", 0.34)]);
        let svg = tuning(&found).unwrap();
        check("tuning", &svg);
        let titles = ["tuned layers: first 10", "tuned layers: last 10"];
        for label in CLASSES.iter().chain(&titles).chain(&["all", "after 4 demonstrations"]) {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert_eq!(svg.matches("<circle").count(), 2 * 2 * 7);
        let many: Vec<(&str, &str, f64)> =
            ["base", "a", "b", "c", "d", "e"].map(|name| (name, "some very long name of layers", 0.4)).to_vec();
        check("tuning-many", &tuning(&rows(&many)).unwrap());
        assert!(matches!(tuning(&found[..7]), Err(PlotError::Empty { figure: "tuning", .. })));
    }
}
