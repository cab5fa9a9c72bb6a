//! The main figure: error of every concept and decodability of the concept, over the same training steps.

use std::collections::{BTreeMap, BTreeSet};

use data::Legend;
use plots::PlotError;
use plots::color::color_of;
use plots::page::ReportTable;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::style::{GREY, UNITS};
use plots::ticks::{compact_number, evenly, extent, labelled, number, ticks};
use probe::Layer;

use super::{MetricRow, Split};
use crate::measurements::decodability::{AtQuery, at_query};
use crate::show::{Section, Shown, in_task_order};
use crate::style::{layer_style, optimal_name, optimal_title, predictor_style};
use crate::summary::{ConceptSummary, Summary};
use crate::{BaselineRow, DecodabilityRow, MeasureError};

const FIGURE: &str = "emergence";
const HEIGHT: u32 = 830 * UNITS;
const UPPER: u32 = 430 * UNITS;
/// More lines than this cannot be told apart.
const MOST_LAYERS: usize = 4;

/// Draws error (above) and Concept Decodability (below) against the training step.
///
/// Above: one line per concept, with the closed-form predictors as dashed levels; `baselines` may be empty. Below: the
/// kNN probe for up to four layers, each with its 95% interval, and the level of guessing; at the query's x token, or
/// where no x token is probed at the first one.
///
/// # Units
/// Error is relative to the mean of y²; decodability is an accuracy between 0 and 1.
///
/// # Errors
/// [`PlotError::Empty`] if `metrics` has no row per concept, or `cd` no row over all concepts.
fn emergence(
    metrics: &[MetricRow],
    baselines: &[BaselineRow],
    cd: &[DecodabilityRow],
    legend: &Legend,
) -> Result<String, PlotError> {
    let errors = errors_by_concept(metrics, legend);
    let decoded = at_query(cd).ok_or(PlotError::Empty { figure: FIGURE, origin: "cd.csv (knn, all concepts)" })?;
    let steps = errors
        .iter()
        .flat_map(|line| &line.1)
        .map(|point| point.0)
        .chain(decoded.rows.iter().map(|row| row.step as f64));
    let steps = extent(steps).unwrap_or(0.0..0.0);
    let x = Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number));
    let upper = error_panel(&errors, baselines, legend, x.bare())?;
    let lower = decoding_panel(&decoded, x);
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

/// A concept and the points of its line.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// Each concept's line, over all positions, in the task's order.
fn errors_by_concept<'a>(metrics: &'a [MetricRow], legend: &Legend) -> Vec<Line<'a>> {
    let measured = || metrics.iter().filter(|row| row.split == Split::Eval && row.position.is_none());
    let line = |concept: &'a str| {
        let rows = measured().filter(|row| row.concept.as_deref() == Some(concept));
        (concept, rows.map(|row| (row.step as f64, row.relative_mse)).collect())
    };
    in_task_order(measured().filter_map(|row| row.concept.as_deref()), legend).into_iter().map(line).collect()
}

fn error_panel(errors: &[Line<'_>], baselines: &[BaselineRow], legend: &Legend, x: Axis) -> Result<Panel, PlotError> {
    let overall = baselines.iter().filter(|row| row.concept.is_none() && row.position.is_none());
    let levels: BTreeMap<&str, f64> = overall.map(|row| (row.predictor.as_str(), row.relative_mse)).collect();
    let mut curves: Vec<Curve> = levels
        .iter()
        .enumerate()
        .map(|(index, (name, level))| {
            let style = predictor_style(legend, name, index);
            let line = [x.range.start, x.range.end].map(|step| (step, *level));
            Curve::new(&style.label, style.color, line).dashed(style.dash)
        })
        .collect();
    let concepts = errors.iter().enumerate();
    curves.extend(concepts.map(|(index, (name, line))| Curve::new(name, color_of(index), line.iter().copied())));
    let heights = extent(errors.iter().flat_map(|line| &line.1).map(|point| point.1))
        .ok_or(PlotError::Empty { figure: FIGURE, origin: "metrics.csv (eval, per concept)" })?;
    let top = curves.iter().flat_map(Curve::heights).fold(heights.end, f64::max);
    let range = heights.start.min(0.0)..if top > 0.0 { 1.04 * top } else { 1.0 };
    let y = Axis::new("squared error / E[y²]", range.clone(), labelled(ticks(&range, 6), number));
    Ok(Panel { title: "Error of the model on each concept".to_owned(), x, y, curves })
}

fn decoding_panel(decoded: &AtQuery<'_>, x: Axis) -> Panel {
    let layers: Vec<Layer> = decoded.rows.iter().map(|row| row.layer).collect::<BTreeSet<_>>().into_iter().collect();
    let ends = [x.range.start, x.range.end].map(|step| (step, decoded.chance));
    let mut curves = vec![Curve::new(&format!("chance {}", decoded.chance_text()), GREY, ends).dashed((4, 10))];
    curves.extend(evenly(layers.len(), MOST_LAYERS).into_iter().map(|index| {
        let rows = || decoded.rows.iter().filter(|row| row.layer == layers[index]);
        let (name, color) = layer_style(layers[index], index, layers.len());
        Curve::new(&name, color, rows().map(|row| (row.step as f64, row.score)))
            .with_band(rows().map(|row| (row.step as f64, row.lo..row.hi)))
    }));
    let y = Axis::new("Concept Decodability", 0.0..1.0, labelled(ticks(&(0.0..1.0), 5), number));
    Panel { title: format!("Concept read from token {} by kNN, with 95% interval", decoded.token), x, y, curves }
}

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    // Text has no squared error.
    if shown.legend.is_of_text() {
        return Ok(Vec::new());
    }
    let summary = Summary::read(shown)?;
    let (metrics, baselines, cd) = (shown.rows()?, shown.rows()?, shown.rows()?);
    let svg = emergence(&metrics, &baselines, &cd, shown.legend);
    let figure = Section::figure("emergence", "Emergence", emergence_caption(&summary, shown.legend), svg)?;
    Ok(figure.into_iter().chain([Section::Table(errors_table(&summary, shown.legend))]).collect())
}

fn emergence_caption(summary: &Summary, legend: &Legend) -> String {
    let optimal = optimal_title(legend);
    let ratio = summary.over_optimal().map_or(String::new(), |ratio| format!(", {ratio:.2} times that of {optimal}"));
    let error = summary.mean(|concept| Some(concept.error)).unwrap_or(f64::NAN);
    let cd = summary.at_query().map_or(String::new(), |token| {
        format!(
            " Below: CD, which goes from {:.2} to {:.2}, at the end at layer {}; guessing gives {:.2}.",
            token.first, token.last, token.layer.0, token.chance
        )
    });
    let verdict = summary.verdict().map_or(String::new(), |verdict| format!("{verdict} "));
    format!("{verdict}Above: each concept's error, which at the end is {error:.3} of E[y²] on average{ratio}.{cd}")
}

fn errors_table(summary: &Summary, legend: &Legend) -> ReportTable {
    let names = summary.concepts.first().map(|concept| concept.predictors.clone()).unwrap_or_default();
    let mut header = vec!["concept".to_owned(), "model".to_owned()];
    header.extend(names.into_iter().map(|(name, _)| name));
    header.push(format!("model / {}", optimal_name(legend)));
    let row = |concept: &ConceptSummary| {
        let mut row = vec![concept.concept.clone(), format!("{:.4}", concept.error)];
        row.extend(concept.predictors.iter().map(|(_, error)| format!("{error:.4}")));
        row.push(concept.over_bayes.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
        row
    };
    ReportTable {
        title: "Final error".to_owned(),
        caption: "Squared error on held-out prompts divided by E[y²], mean over positions.".to_owned(),
        header,
        rows: summary.concepts.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{
        CONCEPTS, baselines, check, checkpoints, decodability, legend, metrics, names, usual_baselines,
    };

    #[test]
    fn shows_every_concept_reference_and_layer() {
        let steps = checkpoints();
        let svg = emergence(&metrics(4, &steps), &usual_baselines(), &decodability(5, &steps), &legend(4)).unwrap();
        check("emergence", &svg);
        let labels = ["zero", "ridge (no concept inferred)", "Bayes mixture (optimal)", "oracle", "chance 0.25"];
        for label in names(4).iter().map(String::as_str).chain(labels).chain(["embedding", "layer 4", "token x10"]) {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert_eq!(svg.matches("<polygon").count(), MOST_LAYERS, "one band per layer");
    }

    #[test]
    fn many_concepts_and_layers_stay_legible() {
        let steps = checkpoints();
        for concepts in [12, 40] {
            let cd = decodability(13, &steps);
            let metrics = metrics(concepts, &steps);
            let svg = emergence(&metrics, &usual_baselines(), &cd, &legend(concepts)).unwrap();
            check(&format!("emergence-{concepts}"), &svg);
        }
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        let own = baselines(&[("k nearest prompts of the same task", 0.5), ("mine", f64::NAN), ("perfect", 0.0)]);
        let one = emergence(&metrics(1, &[0]), &[], &decodability(1, &[0]), &legend(1)).unwrap();
        check("emergence-one-step", &one);
        let mut rows = metrics(3, &[0, 10, 20]);
        rows[0].relative_mse = f64::NAN;
        rows[16].relative_mse = f64::INFINITY;
        let mut cd = decodability(3, &[0, 20]);
        cd[0].score = f64::NAN;
        cd[3].lo = f64::NEG_INFINITY;
        check("emergence-odd", &emergence(&rows, &own, &cd, &legend(3)).unwrap());
        rows.iter_mut().for_each(|row| row.relative_mse = 0.0);
        check("emergence-zero", &emergence(&rows, &[], &cd, &legend(3)).unwrap());
    }

    #[test]
    fn absurd_numbers_and_names_are_drawn_without_panic() {
        for value in [1e300, -1e300, f64::MIN_POSITIVE, f64::MAX] {
            let (mut rows, mut cd) = (metrics(4, &[0, 10, usize::MAX / 2]), decodability(3, &[0, 10]));
            rows[1].relative_mse = value;
            cd[3].score = value;
            cd[6].hi = value;
            let names =
                ["", "a < b & \"c\"", "\u{6982}\u{5ff5}", "a name that is far too long to be put beside a figure"];
            for row in rows.iter_mut().filter(|row| row.concept.is_some()) {
                let index = CONCEPTS.iter().position(|name| row.concept.as_deref() == Some(name));
                row.concept = index.map(|index| names[index].to_owned());
            }
            let svg = emergence(&rows, &baselines(&[("mine", value)]), &cd, &legend(4)).unwrap();
            check(&format!("emergence-{value:e}"), &svg);
        }
    }

    #[test]
    fn empty_tables_are_named() {
        let named = |result| match result {
            Err(PlotError::Empty { figure: "emergence", origin }) => origin,
            other => panic!("{other:?}"),
        };
        assert!(named(emergence(&[], &[], &decodability(2, &[0]), &legend(2))).starts_with("metrics.csv"));
        assert!(named(emergence(&metrics(2, &[0]), &[], &[], &legend(2))).starts_with("cd.csv"));
    }
}
