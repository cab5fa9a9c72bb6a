//! The main figure: error of every concept and decodability of the concept, over the same training steps.

use std::collections::{BTreeMap, BTreeSet};

use plots::PlotError;
use plots::color::{color_of, viridis};
use plots::panel::{Axis, Curve, Panel};
use plots::style::{GREY, UNITS, WIDTH, canvas};
use plots::ticks::{compact_number, evenly, extent, labelled, number, ticks};
use run::{BaselineRow, DecodabilityRow, MetricRow, ProbeKind};

use super::words::predictor_style;

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
pub fn emergence(
    metrics: &[MetricRow],
    baselines: &[BaselineRow],
    cd: &[DecodabilityRow],
) -> Result<String, PlotError> {
    let errors = errors_by_concept(metrics);
    let decoded = at_query(cd).ok_or(PlotError::Empty { figure: FIGURE, origin: "cd.csv (knn, all concepts)" })?;
    let steps = errors.values().flatten().map(|point| point.0).chain(decoded.rows.iter().map(|row| row.step as f64));
    let steps = extent(steps).unwrap_or(0.0..0.0);
    let x = Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number));
    let upper = error_panel(&errors, baselines, x.bare())?;
    let lower = decoding_panel(&decoded, x);
    canvas((WIDTH, HEIGHT), |area| {
        let margins = upper.margins()?.max(lower.margins()?);
        let (above, below) = area.split_vertically(UPPER);
        upper.draw(&above, margins)?;
        lower.draw(&below, margins)
    })
}

/// Points of each concept's line, over all positions.
fn errors_by_concept(metrics: &[MetricRow]) -> BTreeMap<&str, Vec<(f64, f64)>> {
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in metrics.iter().filter(|row| row.split == "eval" && row.position.is_none()) {
        if let Some(concept) = &row.concept {
            lines.entry(concept).or_default().push((row.step as f64, row.relative_mse));
        }
    }
    lines
}

fn error_panel(
    errors: &BTreeMap<&str, Vec<(f64, f64)>>,
    baselines: &[BaselineRow],
    x: Axis,
) -> Result<Panel, PlotError> {
    let overall = baselines.iter().filter(|row| row.concept.is_none() && row.position.is_none());
    let levels: BTreeMap<&str, f64> = overall.map(|row| (row.predictor.as_str(), row.relative_mse)).collect();
    let mut curves: Vec<Curve> = levels
        .iter()
        .enumerate()
        .map(|(index, (name, level))| {
            let style = predictor_style(name, index);
            let line = [x.range.start, x.range.end].map(|step| (step, *level));
            Curve::new(&style.label, style.color, line).dashed(style.dash)
        })
        .collect();
    let concepts = errors.iter().enumerate();
    curves.extend(concepts.map(|(index, (name, line))| Curve::new(name, color_of(index), line.iter().copied())));
    let heights = extent(errors.values().flatten().map(|point| point.1))
        .ok_or(PlotError::Empty { figure: FIGURE, origin: "metrics.csv (eval, per concept)" })?;
    let top = curves.iter().flat_map(Curve::heights).fold(heights.end, f64::max);
    let range = heights.start.min(0.0)..if top > 0.0 { 1.04 * top } else { 1.0 };
    let y = Axis::new("squared error / E[y²]", range.clone(), labelled(ticks(&range, 6), number));
    Ok(Panel { title: "Error of the model on each concept".to_owned(), x, y, curves })
}

fn decoding_panel(decoded: &AtQuery<'_>, x: Axis) -> Panel {
    let layers: Vec<usize> = decoded.rows.iter().map(|row| row.layer).collect::<BTreeSet<_>>().into_iter().collect();
    let ends = [x.range.start, x.range.end].map(|step| (step, decoded.chance));
    let mut curves = vec![Curve::new(&format!("chance {}", decoded.chance_text()), GREY, ends).dashed((4, 10))];
    curves.extend(evenly(layers.len(), MOST_LAYERS).into_iter().map(|index| {
        let rows = || decoded.rows.iter().filter(|row| row.layer == layers[index]);
        let name = if layers[index] == 0 { "embedding".to_owned() } else { format!("layer {}", layers[index]) };
        // The bright end of the colour map is invisible on white.
        let shade = 0.8 * index as f64 / (layers.len().max(2) - 1) as f64;
        Curve::new(&name, viridis(shade), rows().map(|row| (row.step as f64, row.score)))
            .with_band(rows().map(|row| (row.step as f64, row.lo..row.hi)))
    }));
    let y = Axis::new("Concept Decodability", 0.0..1.0, labelled(ticks(&(0.0..1.0), 5), number));
    Panel { title: format!("Concept read from token {} by kNN, with 95% interval", decoded.token), x, y, curves }
}

/// Decodability rows over all concepts at the query's x token.
pub(super) struct AtQuery<'a> {
    pub(super) token: &'a str,
    pub(super) chance: f64,
    pub(super) rows: Vec<&'a DecodabilityRow>,
}

impl AtQuery<'_> {
    /// The level of guessing to three decimals.
    pub(super) fn chance_text(&self) -> String {
        number((1000.0 * self.chance).round() / 1000.0)
    }
}

/// The kNN rows at the token that figures show; none if there is no row with a score.
pub(super) fn at_query(cd: &[DecodabilityRow]) -> Option<AtQuery<'_>> {
    let usable =
        |row: &&DecodabilityRow| row.probe == ProbeKind::CD.name() && row.concept.is_none() && row.score.is_finite();
    let rows: Vec<&DecodabilityRow> = cd.iter().filter(usable).collect();
    let token = query(rows.iter().map(|row| row.token.as_str()))?;
    let rows: Vec<_> = rows.into_iter().filter(|row| row.token == token).collect();
    let chance = rows.iter().map(|row| row.chance).find(|chance| chance.is_finite()).unwrap_or(0.0);
    Some(AtQuery { token, chance, rows })
}

/// The token that figures show: the x token with the highest number, or where no x token is probed the first one.
pub(crate) fn query<'a>(mut tokens: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let of_x = tokens.clone().filter_map(|token| Some((x_token(token)?, token))).max();
    of_x.map(|(_, token)| token).or_else(|| tokens.next())
}

/// The pair that an x token belongs to; none for other tokens.
pub(super) fn x_token(token: &str) -> Option<usize> {
    token.strip_prefix('x')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        CONCEPTS, baselines, check, checkpoints, decodability, metrics, names, usual_baselines,
    };
    use super::*;

    #[test]
    fn shows_every_concept_reference_and_layer() {
        let steps = checkpoints();
        let svg = emergence(&metrics(4, &steps), &usual_baselines(), &decodability(5, &steps)).unwrap();
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
            let svg = emergence(&metrics(concepts, &steps), &usual_baselines(), &decodability(13, &steps)).unwrap();
            check(&format!("emergence-{concepts}"), &svg);
        }
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        let own = baselines(&[("k nearest prompts of the same task", 0.5), ("mine", f64::NAN), ("perfect", 0.0)]);
        let one = emergence(&metrics(1, &[0]), &[], &decodability(1, &[0])).unwrap();
        check("emergence-one-step", &one);
        let mut rows = metrics(3, &[0, 10, 20]);
        rows[0].relative_mse = f64::NAN;
        rows[16].relative_mse = f64::INFINITY;
        let mut cd = decodability(3, &[0, 20]);
        cd[0].score = f64::NAN;
        cd[3].lo = f64::NEG_INFINITY;
        check("emergence-odd", &emergence(&rows, &own, &cd).unwrap());
        rows.iter_mut().for_each(|row| row.relative_mse = 0.0);
        check("emergence-zero", &emergence(&rows, &[], &cd).unwrap());
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
            let svg = emergence(&rows, &baselines(&[("mine", value)]), &cd).unwrap();
            check(&format!("emergence-{value:e}"), &svg);
        }
    }

    #[test]
    fn empty_tables_are_named() {
        let named = |result| match result {
            Err(PlotError::Empty { figure: "emergence", origin }) => origin,
            other => panic!("{other:?}"),
        };
        assert!(named(emergence(&[], &[], &decodability(2, &[0]))).starts_with("metrics.csv"));
        assert!(named(emergence(&metrics(2, &[0]), &[], &[])).starts_with("cd.csv"));
    }

    #[test]
    fn the_query_is_the_last_x_token_by_number() {
        let cd = decodability(1, &[0]);
        assert_eq!(at_query(&cd).unwrap().token, "x10");
        assert_eq!(query(["y9", "x9", "x10"].into_iter()), Some("x10"));
        assert_eq!(query(["y10", "y9"].into_iter()), Some("y10"));
        assert_eq!(["x9", "y9", "x"].map(x_token), [Some(9), None, None]);
    }
}
