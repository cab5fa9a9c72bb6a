//! Separation of the concepts' states over training.

use std::collections::BTreeSet;

use data::Token;
use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::style::UNITS;
use plots::ticks::{around_zero, compact_number, extent, labelled, ticks};
use probe::Layer;

use super::pairs_figure::{MOST_PAIRED, pairs};
use super::{SeparationRow, Statistic};
use crate::MeasureError;
use crate::show::{Section, Shown, of_concepts};

const FIGURE: &str = "separation";
const HEIGHT: u32 = 700 * UNITS;
const UPPER: u32 = 330 * UNITS;
/// A statistic and what permuted labels give of it.
const BETWEEN_WITHIN: [Statistic; 2] = [Statistic::BetweenWithin, Statistic::BetweenWithinShuffled];
const SILHOUETTE: [Statistic; 2] = [Statistic::Silhouette, Statistic::SilhouetteShuffled];

/// Draws the ratio of variances (above) and the silhouette (below) against the training step, one line a token with its
/// 95% interval, and dashed what permuted labels give.
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has none of the two.
fn separation(rows: &[SeparationRow]) -> Result<String, PlotError> {
    let steps = extent(rows.iter().map(|row| row.step as f64)).unwrap_or(0.0..0.0);
    let x = Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number));
    let lower = panel(rows, SILHOUETTE, "silhouette", "Mean silhouette of the states", x.clone())?;
    let title = "Variance between concepts over variance within them";
    let upper = panel(rows, BETWEEN_WITHIN, "between / within", title, x.bare())?;
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

fn panel(
    rows: &[SeparationRow],
    [statistic, control]: [Statistic; 2],
    axis: &str,
    title: &str,
    x: Axis,
) -> Result<Panel, PlotError> {
    let tokens: BTreeSet<(Token, Layer)> = rows.iter().map(|row| (row.token, row.layer)).collect();
    let mut curves = Vec::new();
    for (index, (token, layer)) in tokens.into_iter().enumerate() {
        let of = |statistic: Statistic| {
            rows.iter().filter(|row| (row.token, row.statistic) == (token, statistic)).collect::<Vec<_>>()
        };
        let line = |rows: &[&SeparationRow]| rows.iter().map(|row| (row.step as f64, row.score)).collect::<Vec<_>>();
        let (measured, permuted, color) = (of(statistic), of(control), color_of(index));
        let band = measured.iter().map(|row| (row.step as f64, row.lo..row.hi));
        curves.push(Curve::new(&format!("{token}, layer {}", layer.0), color, line(&measured)).with_band(band));
        curves.push(Curve::new(&format!("{token}, shuffled"), color, line(&permuted)).dashed((6, 8)));
    }
    let heights = extent(curves.iter().flat_map(Curve::reach));
    let heights = heights.ok_or(PlotError::Empty { figure: FIGURE, origin: "separation.csv" })?;
    Ok(Panel { title: title.to_owned(), x, y: around_zero(axis, heights), curves })
}

const CAPTION: &str = "How far the concepts' states are apart, at the layer where CD is best at the end of training; dashed, the same with permuted labels. Both numbers compare distances and means. A concept that changes only the variance of the states does not raise them above permuted labels.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let all = shown.legend.concepts.len();
    let sections = [
        Section::figure(FIGURE, "Separation of the concepts", CAPTION, separation(&shown.rows()?))?,
        Section::figure("pairs", "Concepts two by two", pairs_caption(all), pairs(&shown.rows()?))?,
    ];
    Ok(sections.into_iter().flatten().collect())
}

fn pairs_caption(concepts: usize) -> String {
    let shown = of_concepts(concepts, MOST_PAIRED);
    format!("Accuracy of the kNN probe when it has to tell only two concepts apart; guessing gives 0.5.{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, checkpoints, noise};

    fn rows(steps: &[usize]) -> Vec<SeparationRow> {
        let mut rows = Vec::new();
        for (&step, token) in steps.iter().flat_map(|step| [Token::X(10), Token::Y(10)].map(|token| (step, token))) {
            let apart = if step > 4000 { 0.3 } else { 0.01 } + if token == Token::Y(10) { 0.1 } else { 0.0 };
            let mut row = |statistic: Statistic, score: f64| {
                rows.push(SeparationRow {
                    step,
                    layer: Layer(4),
                    token,
                    statistic,
                    score,
                    lo: score - 0.02,
                    hi: score + 0.02,
                    n: 10,
                });
            };
            row(Statistic::BetweenWithin, 2.0 * apart);
            row(Statistic::BetweenWithinShuffled, 0.01);
            row(Statistic::Silhouette, apart);
            row(Statistic::SilhouetteShuffled, 0.004 * noise(step));
        }
        rows
    }

    #[test]
    fn shows_every_token_and_its_control() {
        let svg = separation(&rows(&checkpoints())).unwrap();
        check("separation", &svg);
        for label in ["x10, layer 4", "y10, shuffled", "silhouette", "between / within"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        let mut one = rows(&[0]);
        check("separation-one", &separation(&one).unwrap());
        one[0].score = f64::NAN;
        one[2].score = 0.0;
        check("separation-odd", &separation(&one).unwrap());
        assert!(matches!(separation(&[]), Err(PlotError::Empty { figure: "separation", .. })));
    }
}
