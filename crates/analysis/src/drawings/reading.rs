//! Decodability along the prompt, above the error along the prompt.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::panel::{Axis, Curve, Panel};
use plots::style::{GREY, INK, UNITS, WIDTH, canvas};
use plots::ticks::{grouped_number, labelled, number, ticks};
use run::{BaselineRow, MetricRow, PositionRow, ProbeKind};

use super::positions::{error_panel, errors, position_ticks, step_color};

const FIGURE: &str = "reading";
const HEIGHT: u32 = 900 * UNITS;
const UPPER: u32 = 440 * UNITS;

/// Draws CD at the x token of every pair (above) and the error there (below), at the steps of `rows`.
///
/// Above with the accuracy of the likeliest concept under the Bayes mixture, the ceiling, and its mean posterior on the
/// true concept, where `rows` have them; below with the closed-form predictors. Positions are pairs, counted from 1.
///
/// # Units
/// Decodability is an accuracy between 0 and 1; error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no score of kNN, or `metrics` no row per position at one of its steps.
pub fn reading(rows: &[PositionRow], metrics: &[MetricRow], baselines: &[BaselineRow]) -> Result<String, PlotError> {
    let upper = reading_panel(rows).ok_or(PlotError::Empty { figure: FIGURE, origin: "cd_positions.csv (knn)" })?;
    let by_step = errors(metrics);
    let steps: Vec<usize> = steps(rows).into_iter().filter(|step| by_step.contains_key(step)).collect();
    let lower = error_panel(&by_step, &steps, baselines, FIGURE)?;
    canvas((WIDTH, HEIGHT), |area| {
        let margins = upper.margins()?.max(lower.margins()?);
        let (above, below) = area.split_vertically(UPPER);
        upper.draw(&above, margins)?;
        lower.draw(&below, margins)
    })
}

fn steps(rows: &[PositionRow]) -> BTreeSet<usize> {
    rows.iter().filter(|row| row.reader == ProbeKind::CD.name()).filter_map(|row| row.step).collect()
}

fn reading_panel(rows: &[PositionRow]) -> Option<Panel> {
    let last = rows.iter().map(|row| row.position).max()?;
    let steps = steps(rows);
    let of = |reader: &str, step: Option<usize>| {
        let rows = rows.iter().filter(move |row| row.step == step);
        rows.filter(move |row| row.reader == reader).collect::<Vec<_>>()
    };
    let line = |rows: &[&PositionRow]| rows.iter().map(|row| (row.position as f64, row.score)).collect::<Vec<_>>();
    let chance = of(ProbeKind::CD.name(), Some(*steps.first()?)).first()?.chance;
    let ends = [1.0, last as f64].map(|position| (position, chance));
    let mut curves = vec![
        Curve::new("Bayes, likeliest concept", INK, line(&of("bayes", None))).dashed((22, 10)),
        Curve::new("Bayes, mean posterior", GREY, line(&of("bayes_posterior", None))).dashed((14, 10)),
        Curve::new("chance", GREY, ends).dashed((4, 10)),
    ];
    curves.extend(steps.iter().enumerate().map(|(index, &step)| {
        let rows = of(ProbeKind::CD.name(), Some(step));
        let name = format!("step {}", grouped_number(step));
        Curve::new(&name, step_color(index, steps.len()), line(&rows))
            .with_band(rows.iter().map(|row| (row.position as f64, row.lo..row.hi)))
    }));
    let x =
        Axis::new("", 1.0..last as f64, position_ticks(last).into_iter().map(|(at, _)| (at, String::new())).collect());
    let y = Axis::new("Concept Decodability", 0.0..1.0, labelled(ticks(&(0.0..1.0), 5), number));
    Some(Panel { title: "Concept read from each pair's x token by kNN, with 95% interval".to_owned(), x, y, curves })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PAIRS, check, checkpoints, metrics, usual_baselines};
    use super::*;

    fn rows(steps: &[usize]) -> Vec<PositionRow> {
        let mut rows = Vec::new();
        for position in 1..=PAIRS {
            let known = 1.0 - 0.75 / position as f64;
            let mut row = |step: Option<usize>, reader: &str, score: f64| {
                let (reader, layer) = (reader.to_owned(), step.map(|_| 3));
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
            row(None, "bayes", known.sqrt().max(0.25));
            row(None, "bayes_posterior", known);
            for (index, &step) in steps.iter().enumerate() {
                row(Some(step), "knn", 0.25 + (known - 0.25) * index as f64 / steps.len() as f64);
                row(Some(step), "knn_shuffled", 0.24);
            }
        }
        rows
    }

    #[test]
    fn shows_the_steps_and_the_ceiling() {
        let svg = reading(&rows(&[0, 2000, 4000, 10_000]), &metrics(4, &checkpoints()), &usual_baselines()).unwrap();
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
        check("reading-one", &reading(&one, &metrics(1, &[0]), &[]).unwrap());
    }

    #[test]
    fn empty_tables_are_named() {
        let named = |result| match result {
            Err(PlotError::Empty { figure: "reading", origin }) => origin,
            other => panic!("{other:?}"),
        };
        assert!(named(reading(&[], &metrics(2, &[0]), &[])).starts_with("cd_positions.csv"));
        assert!(named(reading(&rows(&[7]), &metrics(2, &[0]), &[])).starts_with("metrics.csv"));
    }
}
