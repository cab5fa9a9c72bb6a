//! Decodability along the prompt, above the error along the prompt.

use std::collections::BTreeSet;

use data::{Legend, Role};
use plots::PlotError;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::style::{GREY, INK, UNITS};
use plots::ticks::{grouped_number, labelled, number, ticks};
use probe::ProbeReading;

use super::errors_figure::{error_panel, errors, position_ticks, positions};
use super::{PositionRow, Reader};
use crate::show::{Section, Shown};
use crate::style::{optimal_in_short, optimal_title, step_color};
use crate::{BaselineRow, MeasureError, MetricRow};

const FIGURE: &str = "reading";
const HEIGHT: u32 = 900 * UNITS;
const UPPER: u32 = 440 * UNITS;
/// The vote that is Concept Decodability.
const CD: Reader = Reader::Probe(ProbeReading::CD);

/// Draws CD at the x token of every pair (above) and the error there (below), at the steps of `rows`.
///
/// Above with the accuracy of the likeliest concept under the optimal predictor, the ceiling, and its mean posterior on the
/// true concept, where `rows` have them; below with the closed-form predictors. Positions are pairs, counted from 1.
///
/// # Units
/// Decodability is an accuracy between 0 and 1; error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no score of kNN, or `metrics` no row per position at one of its steps.
fn reading(
    rows: &[PositionRow],
    metrics: &[MetricRow],
    baselines: &[BaselineRow],
    legend: &Legend,
) -> Result<String, PlotError> {
    let upper =
        reading_panel(rows, legend).ok_or(PlotError::Empty { figure: FIGURE, origin: "cd_positions.csv (knn)" })?;
    let by_step = errors(metrics);
    let steps: Vec<usize> = steps(rows).into_iter().filter(|step| by_step.contains_key(step)).collect();
    let lower = error_panel(&by_step, &steps, baselines, legend, FIGURE)?;
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

fn steps(rows: &[PositionRow]) -> BTreeSet<usize> {
    rows.iter().filter(|row| row.reader == CD).filter_map(|row| row.step).collect()
}

/// Who infers the concept as well as it can be done: its likeliest concept, and its posterior.
fn optimal_readers(legend: &Legend) -> Option<[Reader; 2]> {
    let name = &legend.with_role(Role::Optimal)?.name;
    Some([Reader::Predictor(name.clone()), Reader::Posterior(name.clone())])
}

fn reading_panel(rows: &[PositionRow], legend: &Legend) -> Option<Panel> {
    let last = rows.iter().map(|row| row.position).max()?;
    let steps = steps(rows);
    let of = |reader: &Reader, step: Option<usize>| {
        let rows = rows.iter().filter(move |row| row.step == step);
        rows.filter(move |row| row.reader == *reader).collect::<Vec<_>>()
    };
    let line = |rows: &[&PositionRow]| rows.iter().map(|row| (row.position as f64, row.score)).collect::<Vec<_>>();
    let chance = of(&CD, Some(*steps.first()?)).first()?.chance;
    let ends = [1.0, last as f64].map(|position| (position, chance));
    let [likeliest, posterior] =
        optimal_readers(legend).map_or_else(Default::default, |readers| readers.map(|reader| line(&of(&reader, None))));
    let optimal = optimal_in_short(legend);
    let mut curves = vec![
        Curve::new(&format!("{optimal}, likeliest concept"), INK, likeliest).dashed((22, 10)),
        Curve::new(&format!("{optimal}, mean posterior"), GREY, posterior).dashed((14, 10)),
        Curve::new("chance", GREY, ends).dashed((4, 10)),
    ];
    curves.extend(steps.iter().enumerate().map(|(index, &step)| {
        let rows = of(&CD, Some(step));
        let name = format!("step {}", grouped_number(step));
        Curve::new(&name, step_color(index, steps.len()), line(&rows))
            .with_band(rows.iter().map(|row| (row.position as f64, row.lo..row.hi)))
    }));
    let x =
        Axis::new("", 1.0..last as f64, position_ticks(last).into_iter().map(|(at, _)| (at, String::new())).collect());
    let y = Axis::new("Concept Decodability", 0.0..1.0, labelled(ticks(&(0.0..1.0), 5), number));
    Some(Panel { title: "Concept read from each pair's x token by kNN, with 95% interval".to_owned(), x, y, curves })
}

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let (metrics, baselines, read) = (shown.rows()?, shown.rows()?, shown.rows()?);
    let along = positions(&metrics, &baselines, shown.legend);
    let sections = [
        Section::figure("positions", "Error along the prompt", positions_caption(&baselines, shown.legend), along)?,
        Section::figure(
            FIGURE,
            "Reading along the prompt",
            reading_caption(&read, shown.legend),
            reading(&read, &metrics, &baselines, shown.legend),
        )?,
    ];
    Ok(sections.into_iter().flatten().collect())
}

fn positions_caption(baselines: &[BaselineRow], legend: &Legend) -> String {
    let optimal = baselines.iter().any(|row| legend.role(&row.predictor) == Role::Optimal);
    let distance = format!("; the distance to {} is what the model has not learned yet", optimal_title(legend));
    format!(
        "Error at every pair of the prompt: the more pairs stand before it, the better the prediction{}.",
        if optimal { distance.as_str() } else { "" }
    )
}

fn reading_caption(read: &[PositionRow], legend: &Legend) -> String {
    let inferred = optimal_readers(legend).is_some_and(|[likeliest, _]| read.iter().any(|row| row.reader == likeliest));
    if !inferred {
        return "How well the concept can be read at the x token of every pair, and the error of the prediction there."
            .to_owned();
    }
    format!(
        "No reader of the concept can be right more often than one who names the likeliest concept under {}. The distance to that line is what the kNN probe does not find in the states. The mean posterior on the true concept lies lower.",
        optimal_title(legend)
    )
}

#[cfg(test)]
mod tests {
    use probe::{Control, Layer, ProbeKind};

    use super::*;
    use crate::planted::{PAIRS, check, checkpoints, legend, metrics, usual_baselines};

    fn rows(steps: &[usize]) -> Vec<PositionRow> {
        let mut rows = Vec::new();
        for position in 1..=PAIRS {
            let known = 1.0 - 0.75 / position as f64;
            let mut row = |step: Option<usize>, reader: Reader, score: f64| {
                let layer = step.map(|_| Layer(3));
                rows.push(PositionRow {
                    step,
                    position,
                    reader,
                    layer,
                    score,
                    chance: 0.25,
                    lo: score - 0.02,
                    hi: score + 0.02,
                });
            };
            row(None, Reader::Predictor("bayes".to_owned()), known.sqrt().max(0.25));
            row(None, Reader::Posterior("bayes".to_owned()), known);
            for (index, &step) in steps.iter().enumerate() {
                row(Some(step), CD, 0.25 + (known - 0.25) * index as f64 / steps.len() as f64);
                row(Some(step), Reader::Probe(ProbeReading::control(ProbeKind::CD, Control::Shuffled)), 0.24);
            }
        }
        rows
    }

    #[test]
    fn shows_the_steps_and_the_ceiling() {
        let svg = reading(&rows(&[0, 2000, 4000, 10_000]), &metrics(4, &checkpoints()), &usual_baselines(), &legend(4))
            .unwrap();
        check("reading", &svg);
        for label in ["Bayes, likeliest concept", "Bayes, mean posterior", "chance", "step 4,000", "step 10,000"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        let mut one = rows(&[0]);
        one.retain(|row| row.position == 1);
        one[2].score = f64::NAN;
        check("reading-one", &reading(&one, &metrics(1, &[0]), &[], &legend(1)).unwrap());
    }

    #[test]
    fn empty_tables_are_named() {
        let named = |result| match result {
            Err(PlotError::Empty { figure: "reading", origin }) => origin,
            other => panic!("{other:?}"),
        };
        assert!(named(reading(&[], &metrics(2, &[0]), &[], &legend(2))).starts_with("cd_positions.csv"));
        assert!(named(reading(&rows(&[7]), &metrics(2, &[0]), &[], &legend(2))).starts_with("metrics.csv"));
    }
}
