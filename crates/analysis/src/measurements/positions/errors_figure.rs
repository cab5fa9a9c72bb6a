//! Error along the prompt: how much the model learns from each further pair, early, midway and at the end.

use std::collections::BTreeMap;

use data::Legend;
use plots::PlotError;
use plots::panel::{Axis, Curve, Panel};
use plots::style::UNITS;
use plots::ticks::{extent, grouped_number, labelled, log_axis, number, ticks};

use crate::measurements::Split;
use crate::style::{predictor_style, step_color};
use crate::{BaselineRow, MetricRow};

const FIGURE: &str = "positions";
const HEIGHT: u32 = 620 * UNITS;

/// Error by 1-based position; finite values only.
pub(super) type Profile = BTreeMap<usize, f64>;

/// Draws error against the position in the prompt at three checkpoints, beside the closed-form predictors.
///
/// The checkpoints are the first, the last, and the one whose error is nearest to halfway between them on a log scale.
/// The error axis is logarithmic if every error is positive. `baselines` may be empty.
///
/// # Units
/// Error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `metrics` has no row per position over all concepts.
pub(super) fn positions(
    metrics: &[MetricRow],
    baselines: &[BaselineRow],
    legend: &Legend,
) -> Result<String, PlotError> {
    let by_step = errors(metrics);
    let panel = error_panel(&by_step, &milestones(&by_step), baselines, legend, FIGURE)?;
    panel.figure(HEIGHT)
}

/// The model's error along the prompt at every step.
pub(super) fn errors(metrics: &[MetricRow]) -> BTreeMap<usize, Profile> {
    let measured = metrics.iter().filter(|row| row.split == Split::Eval && row.concept.is_none());
    profiles(measured.map(|row| (row.step, row.position, row.relative_mse)))
}

/// The chosen steps of `by_step` beside the predictors.
pub(super) fn error_panel(
    by_step: &BTreeMap<usize, Profile>,
    chosen: &[usize],
    baselines: &[BaselineRow],
    legend: &Legend,
    figure: &'static str,
) -> Result<Panel, PlotError> {
    let closed = baselines.iter().filter(|row| row.concept.is_none());
    let by_predictor = profiles(closed.map(|row| (row.predictor.as_str(), row.position, row.relative_mse)));
    let shown = || chosen.iter().map(|step| &by_step[step]).chain(by_predictor.values());
    let heights = extent(shown().flat_map(|profile| profile.values().copied()));
    let Some(heights) = heights.filter(|_| !chosen.is_empty()) else {
        return Err(PlotError::Empty { figure, origin: "metrics.csv (eval, per position)" });
    };
    let last = shown().filter_map(|profile| profile.keys().max()).max().copied().unwrap_or(1);
    let (y, scale) = log_axis("squared error / E[y²]", &heights);
    let line =
        |profile: &Profile| -> Vec<_> { profile.iter().map(|(at, error)| (*at as f64, scale(*error))).collect() };
    let mut curves: Vec<Curve> = by_predictor
        .iter()
        .enumerate()
        .map(|(index, (name, profile))| {
            let style = predictor_style(legend, name, index);
            Curve::new(&style.label, style.color, line(profile)).dashed(style.dash)
        })
        .collect();
    curves.extend(chosen.iter().enumerate().map(|(index, step)| {
        Curve::new(&format!("step {}", grouped_number(*step)), step_color(index, chosen.len()), line(&by_step[step]))
    }));
    let x = Axis::new("pair of the prompt whose y is predicted", 1.0..last as f64, position_ticks(last));
    Ok(Panel { title: "Error along the prompt".to_owned(), x, y, curves })
}

/// Profiles by whatever tells them apart, from the rows that have a position and a finite error.
fn profiles<K: Ord>(rows: impl Iterator<Item = (K, Option<usize>, f64)>) -> BTreeMap<K, Profile> {
    let mut profiles: BTreeMap<K, Profile> = BTreeMap::new();
    for (key, position, error) in rows {
        if let Some(position) = position.filter(|_| error.is_finite()) {
            profiles.entry(key).or_default().insert(position, error);
        }
    }
    profiles
}

/// The first step, the one about halfway in log error, and the last; fewer if there are fewer.
fn milestones(by_step: &BTreeMap<usize, Profile>) -> Vec<usize> {
    let steps: Vec<usize> = by_step.keys().copied().collect();
    let [first, between @ .., last] = steps.as_slice() else {
        return steps;
    };
    // An error of 0 has no logarithm; the smallest positive number stands in for it.
    let level = |step: &usize| {
        let profile = &by_step[step];
        (profile.values().sum::<f64>() / profile.len() as f64).max(f64::MIN_POSITIVE).ln()
    };
    let halfway = f64::midpoint(level(first), level(last));
    let distance = |step: &usize| (level(step) - halfway).abs();
    let middle = between.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    std::iter::once(first).chain(middle).chain([last]).copied().collect()
}

/// Every position of a short prompt, round ones of a long prompt.
pub(super) fn position_ticks(last: usize) -> Vec<(f64, String)> {
    let every = |count: usize| (1..=count).map(|position| position as f64).collect();
    let places = if last <= 16 { every(last) } else { ticks(&(1.0..last as f64), 10) };
    labelled(places, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{PAIRS, baselines, check, checkpoints, legend, metrics, usual_baselines};

    #[test]
    fn shows_three_checkpoints_and_the_predictors() {
        let svg = positions(&metrics(4, &checkpoints()), &usual_baselines(), &legend(4)).unwrap();
        check("positions", &svg);
        for label in ["step 0", "step 10,000", "Bayes mixture (optimal)", "oracle", "log scale", "E[y²]"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert_eq!(svg.matches("step ").count(), 3);
    }

    #[test]
    fn the_middle_checkpoint_is_halfway_in_log_error() {
        let flat = |error: f64| (1..=PAIRS).map(|position| (position, error)).collect::<Profile>();
        let errors = [1.0, 0.9, 0.5, 0.11, 0.02, 0.01];
        let by_step = errors.iter().enumerate().map(|(step, error)| (step, flat(*error))).collect();
        assert_eq!(milestones(&by_step), [0, 3, 5]);
        assert_eq!(milestones(&BTreeMap::from([(7, flat(1.0))])), [7]);
        assert!(milestones(&BTreeMap::new()).is_empty());
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("positions-one", &positions(&metrics(1, &[0]), &[], &legend(4)).unwrap());
        let mut rows = metrics(2, &[0, 10, 20]);
        rows[3].relative_mse = f64::NAN;
        check("positions-nan", &positions(&rows, &baselines(&[("mine", 0.3), ("yours", 1e-9)]), &legend(4)).unwrap());
        rows.iter_mut().for_each(|row| row.relative_mse = 0.0);
        check("positions-zero", &positions(&rows, &[], &legend(4)).unwrap());
        rows.iter_mut().step_by(2).for_each(|row| row.relative_mse = -f64::MAX);
        check("positions-far", &positions(&rows, &baselines(&[("mine", f64::MAX)]), &legend(4)).unwrap());
        rows.retain(|row| row.position == Some(1));
        rows.iter_mut().for_each(|row| row.relative_mse = 1e-12);
        check("positions-first-only", &positions(&rows, &[], &legend(4)).unwrap());
    }

    #[test]
    fn empty_table_is_named() {
        let overall: Vec<_> = metrics(2, &[0]).into_iter().filter(|row| row.position.is_none()).collect();
        assert!(matches!(positions(&overall, &[], &legend(4)), Err(PlotError::Empty { figure: "positions", .. })));
    }
}
