//! Task distance normalised variance over training.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::panel::{Axis, Curve, Panel};
use plots::style::UNITS;
use plots::ticks::{compact_number, evenly, extent, labelled, log_axis, ticks};
use probe::Layer;

use super::TdnvRow;
use crate::MeasureError;
use crate::show::{Section, Shown, query};
use crate::style::layer_style;

const FIGURE: &str = "tdnv";
const HEIGHT: u32 = 480 * UNITS;
/// More lines than this cannot be told apart.
const MOST_LAYERS: usize = 4;

/// Draws TDNV against the training step at the token that figures show, on a logarithmic axis if all values are positive:
/// up to four layers, each with its 95% interval.
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no finite value there.
fn tdnv(rows: &[TdnvRow]) -> Result<String, PlotError> {
    let token = query(rows.iter().map(|row| row.token));
    let rows: Vec<&TdnvRow> = rows.iter().filter(|row| Some(row.token) == token && row.score.is_finite()).collect();
    let layers: Vec<Layer> = rows.iter().map(|row| row.layer).collect::<BTreeSet<_>>().into_iter().collect();
    let shown: Vec<usize> = evenly(layers.len(), MOST_LAYERS);
    let drawn = || rows.iter().filter(|row| shown.iter().any(|&index| layers[index] == row.layer));
    let steps = extent(rows.iter().map(|row| row.step as f64));
    let heights = extent(drawn().flat_map(|row| [row.lo, row.score, row.hi]));
    let (Some(token), Some(steps), Some(heights)) = (token, steps, heights) else {
        return Err(PlotError::Empty { figure: FIGURE, origin: "tdnv.csv" });
    };
    let (y, scale) = log_axis("variance / squared distance", &heights);
    let curve = |&index: &usize| {
        let here = || rows.iter().filter(|row| row.layer == layers[index]);
        let (name, color) = layer_style(layers[index], index, layers.len());
        let band = here().map(|row| (row.step as f64, scale(row.lo)..scale(row.hi)));
        Curve::new(&name, color, here().map(|row| (row.step as f64, scale(row.score)))).with_band(band)
    };
    let panel = Panel {
        title: format!("Variance within concepts over their squared distance, token {token}, with 95% interval"),
        x: Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number)),
        y,
        curves: shown.iter().map(curve).collect(),
    };
    panel.figure(HEIGHT)
}

const CAPTION: &str = "Task distance normalised variance: the mean of two concepts' variances over the squared distance of their means, averaged over pairs of concepts. The lower a line, the further the concepts are apart; at 1 the states of a concept spread as far as the means of two concepts are apart.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let section = Section::figure(FIGURE, "Spread of the concepts", CAPTION, tdnv(&shown.rows()?))?;
    Ok(section.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use data::Token;

    use super::*;
    use crate::planted::{check, checkpoints, noise};

    fn rows(layers: usize, steps: &[usize]) -> Vec<TdnvRow> {
        let places = steps.iter().flat_map(|step| (0..layers).map(move |layer| (*step, layer)));
        let row = |(step, layer): (usize, usize)| {
            let fallen = layer as f64 * step as f64 / 4000.0 + 0.1 * noise(step + layer);
            let score = 80.0 * (-fallen).exp();
            let (layer, token) = (Layer(layer), Token::X(10));
            TdnvRow { step, layer, token, score, lo: 0.8 * score, hi: 1.25 * score, n: 10 }
        };
        let drawn = places.map(row);
        drawn.flat_map(|row| [TdnvRow { token: Token::Y(10), score: 3.0, ..row.clone() }, row]).collect()
    }

    #[test]
    fn shows_up_to_four_layers_with_their_intervals() {
        let svg = tdnv(&rows(7, &checkpoints())).unwrap();
        check("tdnv", &svg);
        for label in ["embedding", "layer 6", "token x10", "log scale"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert_eq!(svg.matches("<polygon").count(), MOST_LAYERS);
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("tdnv-one", &tdnv(&rows(1, &[0])).unwrap());
        for value in [f64::NAN, f64::INFINITY, 0.0, 1e300] {
            let mut odd = rows(3, &[0, 10, 20]);
            odd.iter_mut().step_by(3).for_each(|row| (row.score, row.lo, row.hi) = (value, value, value));
            check(&format!("tdnv-{value:e}"), &tdnv(&odd).unwrap());
            odd.iter_mut().for_each(|row| row.score = f64::INFINITY);
            assert!(matches!(tdnv(&odd), Err(PlotError::Empty { figure: "tdnv", .. })));
        }
        assert!(matches!(tdnv(&[]), Err(PlotError::Empty { figure: "tdnv", .. })));
    }
}
