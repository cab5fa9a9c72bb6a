//! What replaced and steered states do to the answers: log-probability above, exact answers below.

use std::collections::BTreeSet;
use std::ops::Range;

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::shapes::RGBColor;
use plots::style::{GREY, INK, UNITS};
use plots::ticks::{extent, labelled, number, padded, signed, ticks};

use super::{InterventionKind, InterventionRow};
use crate::MeasureError;
use crate::show::{Section, Shown};

const HEIGHT: u32 = 830 * UNITS;
const UPPER: u32 = 400 * UNITS;

/// What a kind is called, its colour, and its dash where it is a control; later lines lie on earlier ones.
const SHOWN: [(InterventionKind, &str, Look); 6] = [
    (InterventionKind::Itself, "the state itself", Look::Dashed(INK, (4, 10))),
    (InterventionKind::Random, "random, as long", Look::Dashed(GREY, (24, 10))),
    (InterventionKind::Overall, "mean over concepts", Look::Dashed(GREY, (12, 10))),
    (InterventionKind::Null, "mean of Null", Look::Solid(2)),
    (InterventionKind::Other, "mean of another concept", Look::Solid(1)),
    (InterventionKind::Own, "mean of the own concept", Look::Solid(0)),
];

#[derive(Clone, Copy)]
enum Look {
    Solid(usize),
    Dashed(RGBColor, (u32, u32)),
}

/// Whether the prompts in which states are replaced have demonstrations.
#[derive(Clone, Copy, PartialEq)]
enum Demonstrations {
    With,
    Without,
}

impl Demonstrations {
    fn of(row: &InterventionRow) -> Self {
        if row.shots > 0 { Self::With } else { Self::Without }
    }
}

/// The rows over all sources at the last step.
fn over_sources(rows: &[InterventionRow]) -> impl Iterator<Item = &InterventionRow> {
    let step = rows.iter().map(|row| row.step).max();
    rows.iter().filter(move |row| Some(row.step) == step && row.source.is_none())
}

/// Draws the change of the right answer's log-probability (above) and of the share of exact answers (below) against the
/// layer at which the state at the query is replaced: means over source concepts, with 95% intervals.
///
/// # Errors
/// [`PlotError::Empty`] if there is no such row.
fn replaced(rows: &[InterventionRow], prompts: Demonstrations) -> Result<String, PlotError> {
    let figure = match prompts {
        Demonstrations::With => "interventions",
        Demonstrations::Without => "task_vectors",
    };
    let here = |row: &&InterventionRow| row.strength.is_none() && Demonstrations::of(row) == prompts;
    let rows: Vec<&InterventionRow> = over_sources(rows).filter(here).collect();
    let empty = PlotError::Empty { figure, origin: "interventions.csv (without a strength)" };
    let Some(first) = rows.first() else { return Err(empty) };
    let layers: BTreeSet<usize> = rows.iter().map(|row| row.layer.0).collect();
    let range = extent(layers.iter().map(|&layer| layer as f64)).unwrap_or(0.0..1.0);
    let x = Axis::new("layer behind which the state is replaced", padded(&range), marks(&layers, &range));
    let what = match prompts {
        Demonstrations::With => format!("{} demonstrations", first.shots),
        Demonstrations::Without => format!("no demonstrations, means after {}", first.mean_shots),
    };
    draw(&rows, x, &what, |row| row.layer.0 as f64)
}

/// Layers that are labelled: those close to the one before are left out, as their numbers would lie on each other.
fn marks(layers: &BTreeSet<usize>, range: &Range<f64>) -> Vec<(f64, String)> {
    let apart = (range.end - range.start) / 25.0;
    let mut kept: Vec<f64> = Vec::new();
    for layer in layers.iter().map(|&layer| layer as f64) {
        if kept.last().is_none_or(|last| layer - last > apart) {
            kept.push(layer);
        }
    }
    labelled(kept, number)
}

/// Draws the same against the strength of steering.
///
/// # Errors
/// [`PlotError::Empty`] if there is no steered state.
fn steered(rows: &[InterventionRow]) -> Result<String, PlotError> {
    let rows: Vec<&InterventionRow> = over_sources(rows).filter(|row| row.strength.is_some()).collect();
    let unsteered: Vec<InterventionRow> = SHOWN
        .iter()
        .filter_map(|(kind, ..)| rows.iter().find(|row| row.kind == *kind))
        .map(|row| unsteered(row))
        .collect();
    let mut rows: Vec<&InterventionRow> =
        rows.into_iter().filter(|row| row.strength != Some(0.0)).chain(&unsteered).collect();
    rows.sort_by(|a, b| a.strength.unwrap_or(0.0).total_cmp(&b.strength.unwrap_or(0.0)));
    let range = extent(rows.iter().filter_map(|row| row.strength));
    let (Some(first), Some(range)) = (rows.first(), range) else {
        return Err(PlotError::Empty { figure: "answers_steered", origin: "interventions.csv (with a strength)" });
    };
    let what = format!("{} demonstrations, steered at layer {}", first.shots, first.layer.0);
    let along = "strength of what is added: the target's mean less the mean over concepts";
    let x = Axis::new(along, padded(&range), labelled(ticks(&range, 8), number));
    draw(&rows, x, &what, |row| row.strength.unwrap_or(0.0))
}

/// The row of a kind at strength 0, which needs no measurement: nothing is added, and nothing changes.
fn unsteered(row: &InterventionRow) -> InterventionRow {
    InterventionRow {
        strength: Some(0.0),
        accuracy: row.accuracy - row.accuracy_change,
        accuracy_change: 0.0,
        accuracy_lo: 0.0,
        accuracy_hi: 0.0,
        log_probability: row.log_probability - row.log_probability_change,
        log_probability_change: 0.0,
        log_probability_lo: 0.0,
        log_probability_hi: 0.0,
        ..row.clone()
    }
}

/// What a panel shows of a row, and its interval.
type Value = fn(&InterventionRow) -> (f64, Range<f64>);

fn draw(
    rows: &[&InterventionRow],
    x: Axis,
    what: &str,
    place: impl Fn(&InterventionRow) -> f64,
) -> Result<String, PlotError> {
    let (unedited, n) = (rows[0].accuracy - rows[0].accuracy_change, rows[0].n);
    let log: Value = |row| (row.log_probability_change, row.log_probability_lo..row.log_probability_hi);
    let exact: Value = |row| (row.accuracy_change, row.accuracy_lo..row.accuracy_hi);
    let upper = panel(rows, x.bare(), &place, log, "nats");
    let lower = panel(rows, x, &place, exact, "share of prompts");
    let upper = Panel { title: format!("Change of log-probability, {what}"), ..upper };
    let lower = Panel { title: format!("Change of exact answers ({unedited:.2} without it, {n} prompts)"), ..lower };
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

fn panel(
    rows: &[&InterventionRow],
    x: Axis,
    place: &impl Fn(&InterventionRow) -> f64,
    value: Value,
    unit: &str,
) -> Panel {
    let curve = |(kind, name, look): &(InterventionKind, &str, Look)| {
        let here: Vec<&&InterventionRow> = rows.iter().filter(|row| row.kind == *kind).collect();
        let line: Vec<(f64, f64)> = here.iter().map(|row| (place(row), value(row).0)).collect();
        let intervals = here.iter().map(|row| (place(row), value(row).1));
        let curve = match *look {
            Look::Solid(index) => {
                let discs = line.clone().into_iter().map(|at| (at, 4));
                Curve::new(name, color_of(index), line).with_band(intervals).with_discs(discs)
            }
            Look::Dashed(color, dash) => Curve::new(name, color, line).with_bars(intervals).dashed(dash),
        };
        (!here.is_empty()).then_some(curve)
    };
    let curves: Vec<Curve> = SHOWN.iter().filter_map(curve).collect();
    let heights = extent(curves.iter().flat_map(Curve::reach).chain([0.0])).unwrap_or(0.0..1.0);
    let space = 0.04 * (heights.end - heights.start);
    let range = heights.start - space..heights.end + space;
    let y = Axis::new(unit, range.clone(), labelled(ticks(&range, 5), signed));
    Panel { title: String::new(), x, y, curves }
}

const REPLACED: &str = "Change of the right answer's log-probability and of the share of exact answers when the state at the query is replaced by a mean over other prompts. The model uses the concept at a layer if the own concept's mean leaves the answers better than Null's and another concept's. Compare these three with each other, and not with the unchanged model: a mean has nothing of the query, so that any mean costs something. Bands and bars are 95% intervals over prompts.";

const TASK_VECTORS: &str = "The same for prompts without demonstrations: the state at the query is replaced by a mean over prompts with demonstrations, a task vector. Any mean, Null's included, says that an answer of this form is due, and raises the log-probability. What the concept adds is the own concept's mean above Null's and another concept's.";

const STEERED: &str = "The same when the state stays, and a multiple (the strength) of the difference between a mean and the mean over concepts is added. The query's own state is kept, so the own concept's direction can help, and another's can harm. At strength 0 nothing is added, and nothing changes.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let rows: Vec<InterventionRow> = shown.rows()?;
    let sections = [
        Section::figure(
            "interventions",
            "What a concept's mean does to the answer",
            REPLACED,
            replaced(&rows, Demonstrations::With),
        )?,
        Section::figure("task_vectors", "Task vectors", TASK_VECTORS, replaced(&rows, Demonstrations::Without))?,
        Section::figure("answers_steered", "Steering of answers", STEERED, steered(&rows))?,
    ];
    Ok(sections.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::*;
    use crate::planted::{check, noise};

    /// As a small model has them: nothing before layer 18, and the concept at 21.
    fn planted(shots: usize, layers: &[usize], strengths: &[f64]) -> Vec<InterventionRow> {
        let mut rows = Vec::new();
        let places = layers.iter().map(|&layer| (layer, None));
        let places = places.chain(strengths.iter().map(|&strength| (21, Some(strength))));
        for (layer, strength) in places {
            let late = 1.0 / (1.0 + (19.0 - layer as f64).exp());
            for (kind, ..) in SHOWN {
                let harm = match kind {
                    InterventionKind::Own => 0.1,
                    InterventionKind::Null => 1.6,
                    InterventionKind::Other => 2.5,
                    InterventionKind::Overall => 1.2,
                    InterventionKind::Random => 4.0,
                    InterventionKind::Itself => 0.0,
                };
                let lift = if shots > 0 || kind == InterventionKind::Itself { 0.0 } else { 7.0 };
                let size = strength.map_or(late, |strength: f64| 0.3 * strength);
                let log = (lift - harm) * size + 0.05 * noise(rows.len());
                let exact = (0.03 * lift - 0.08 * harm) * size.min(1.0);
                rows.push(InterventionRow {
                    step: 0,
                    layer: Layer(layer),
                    shots,
                    mean_shots: 4,
                    kind,
                    source: None,
                    target: None,
                    strength,
                    accuracy: 0.24 + exact,
                    accuracy_change: exact,
                    accuracy_lo: exact - 0.03,
                    accuracy_hi: exact + 0.03,
                    log_probability: -4.0 + log,
                    log_probability_change: log,
                    log_probability_lo: log - 0.2,
                    log_probability_hi: log + 0.2,
                    n: 600,
                    mean_n: 100,
                });
            }
        }
        rows
    }

    const LAYERS: [usize; 9] = [1, 10, 17, 19, 20, 21, 23, 25, 30];

    #[test]
    fn every_kind_is_a_line_in_both_panels() {
        let mut rows = planted(4, &LAYERS, &[-2.0, -1.0, 1.0, 2.0]);
        rows.extend(planted(0, &LAYERS, &[]));
        let [with, without] =
            [Demonstrations::With, Demonstrations::Without].map(|prompts| replaced(&rows, prompts).unwrap());
        check("interventions", &with);
        check("task-vectors", &without);
        let steered = steered(&rows).unwrap();
        check("answers-steered", &steered);
        for svg in [&with, &without, &steered] {
            for (_, label, _) in SHOWN {
                assert!(svg.matches(label).count() >= 2, "{label}");
            }
        }
        assert!(with.contains("4 demonstrations") && without.contains("no demonstrations, means after 4"));
        assert!(steered.contains("steered at layer 21"));
        // Strength 0 is drawn whether it was measured or not.
        let measured = super::steered(&planted(4, &LAYERS, &[-2.0, -1.0, 0.0, 1.0, 2.0])).unwrap();
        assert_eq!(steered.matches("<circle").count(), measured.matches("<circle").count());
    }

    #[test]
    fn odd_rows_are_drawn_and_no_rows_are_named() {
        check("interventions-one", &replaced(&planted(4, &[1], &[]), Demonstrations::With).unwrap());
        for value in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
            let mut odd = planted(4, &LAYERS[..3], &[1.0]);
            odd.iter_mut().step_by(2).for_each(|row| (row.log_probability_change, row.accuracy_lo) = (value, value));
            check(&format!("interventions-{value:e}"), &replaced(&odd, Demonstrations::With).unwrap());
            check(&format!("answers-steered-{value:e}"), &steered(&odd).unwrap());
        }
        assert!(matches!(replaced(&[], Demonstrations::With), Err(PlotError::Empty { figure: "interventions", .. })));
        assert!(matches!(replaced(&[], Demonstrations::Without), Err(PlotError::Empty { figure: "task_vectors", .. })));
        assert!(matches!(steered(&[]), Err(PlotError::Empty { figure: "answers_steered", .. })));
    }
}
