//! Decodability of what blocks write, layer by layer, beside the residual stream that they write to.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, EDGE, Panel, draw_row};
use plots::shapes::{FontStyle, RGBColor};
use plots::style::{GREY, INK, TYPE, UNITS, WIDTH, canvas, font};
use plots::ticks::{evenly, extent, grouped_number, labelled, number, ticks};
use probe::{Component, ProbeKind, ProbeReading};

use super::ComponentRow;
use crate::MeasureError;
use crate::show::{Section, Shown, query};

/// Checkpoints beside each other.
const MOST_STEPS: usize = 4;
/// One below the other: the vote that is CD, and the probe that reads variances, where a concept can show first.
const PROBES: [(ProbeKind, &str); 2] = [(ProbeKind::CD, "CD (kNN)"), (ProbeKind::Quadratic, "quadratic probe")];
/// Space above the panels, for the title.
const ABOVE: u32 = 30 * UNITS;
/// Height of a row of panels, and what the axis below the lowest one takes.
const ROW: u32 = 290 * UNITS;
const AXIS: u32 = 40 * UNITS;

/// Draws the accuracy of kNN and, where `rows` have it, of the quadratic probe against the layer, at the token that is shown:
/// one line a component with its 95% interval, checkpoints from left to right.
///
/// # Units
/// Decodability is an accuracy between 0 and 1; the axis begins below the lowest one.
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no score of either.
fn sites(rows: &[ComponentRow]) -> Result<String, PlotError> {
    let shown = query(rows.iter().map(|row| row.token));
    let rows = rows.iter().filter(|row| Some(row.token) == shown);
    let rows: Vec<&ComponentRow> = rows.filter(|row| row.score.is_finite()).collect();
    let lines: Vec<_> = PROBES.iter().filter_map(|(probe, name)| panels(&rows, *probe, name)).collect();
    let (Some(first), Some(lowest)) = (rows.first(), lines.len().checked_sub(1)) else {
        return Err(PlotError::Empty { figure: "sites", origin: "cd_sites.csv (knn or quadratic)" });
    };
    let title = format!("Concept at token {}, in what blocks write and in the stream behind them", first.token);
    canvas((WIDTH, ABOVE + ROW * lines.len() as u32 + AXIS), |area| {
        area.draw_text(&title, &font(TYPE, INK, FontStyle::Bold), (EDGE as i32, EDGE as i32))?;
        let mut rest = area.split_vertically(ABOVE).1;
        for (index, mut panels) in lines.into_iter().enumerate() {
            if index < lowest {
                panels.iter_mut().for_each(|panel| panel.x = panel.x.bare());
            }
            let (row, below) = rest.split_vertically(if index < lowest { ROW } else { ROW + AXIS });
            draw_row(&row, &panels)?;
            rest = below;
        }
        Ok(())
    })
}

/// A panel for every step, up to four; none if the probe has no rows.
fn panels(rows: &[&ComponentRow], probe: ProbeKind, name: &str) -> Option<Vec<Panel>> {
    let rows: Vec<&ComponentRow> = rows.iter().copied().filter(|row| row.probe == ProbeReading::of(probe)).collect();
    let steps = Vec::from_iter(rows.iter().map(|row| row.step).collect::<BTreeSet<_>>());
    let chance = rows.first()?.chance;
    let lowest = extent(rows.iter().map(|row| row.lo).chain([chance]))?.start.clamp(0.0, 1.0);
    let heights = ((10.0 * lowest - 0.5).floor() / 10.0).clamp(0.0, 0.9)..1.0;
    let last = rows.iter().map(|row| row.layer.0).max()?;
    let layers = evenly(last + 1, 7).into_iter().map(|layer| layer as f64).collect();
    let x = Axis::new("layer", 0.0..last as f64, labelled(layers, number));
    let y = Axis::new(name, heights.clone(), labelled(ticks(&heights, 5), number));
    let panel = |index: usize| {
        let ends = [0.0, last as f64].map(|layer| (layer, chance));
        let mut curves = vec![Curve::new("chance", GREY, ends).dashed((4, 10))];
        curves.extend(Component::ALL.into_iter().map(|component| curve(&rows, steps[index], component)));
        Panel { title: format!("step {}", grouped_number(steps[index])), x: x.clone(), y: y.clone(), curves }
    };
    Some(evenly(steps.len(), MOST_STEPS).into_iter().map(panel).collect())
}

fn curve(rows: &[&ComponentRow], step: usize, component: Component) -> Curve {
    let (name, color) = look(component);
    let rows = || rows.iter().filter(|row| (row.step, row.component) == (step, component));
    let band = rows().map(|row| (row.layer.0 as f64, row.lo..row.hi));
    Curve::new(name, color, rows().map(|row| (row.layer.0 as f64, row.score))).with_band(band)
}

/// Name and colour of a component: the stream is ink, what is written to it has colours.
fn look(component: Component) -> (&'static str, RGBColor) {
    match component {
        Component::Residual => ("stream", INK),
        Component::Attention => ("attention", color_of(0)),
        Component::FeedForward => ("feed-forward", color_of(1)),
        Component::Block => ("whole block", color_of(2)),
    }
}

const CAPTION: &str = "Probe accuracy at layer l, with 95% intervals, on the output of block l's attention, of its feed-forward part and of both together, and on the residual stream behind the block. Attention brings information from other tokens. Where its line lies above the stream's, the concept has arrived at this token, but is mixed with what the stream held before.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let section = Section::figure("sites", "What blocks write", CAPTION, sites(&shown.rows()?))?;
    Ok(section.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use data::Token;
    use probe::{Control, Layer};

    use super::*;
    use crate::planted::{check, noise};

    /// Sites that show the concept one layer after the other: the stream last.
    fn rows(steps: &[usize], layers: usize) -> Vec<ComponentRow> {
        let mut rows = Vec::new();
        let places = |step: usize| {
            Component::ALL.into_iter().rev().enumerate().map(move |(delay, component)| (step, delay, component))
        };
        for (step, delay, component) in steps.iter().copied().flat_map(places) {
            for layer in component.first_layer().0..=layers {
                let depth = (layer as f64 - delay as f64).max(0.0) / layers as f64;
                let score = 0.25 + 0.7 * depth.sqrt() * step as f64 / 10_000.0 + 0.02 * noise(rows.len());
                let layer = Layer(layer);
                let mut row = |token: Token, probe: ProbeReading, score: f64| {
                    let (chance, lo, hi) = (0.25, score - 0.03, score + 0.03);
                    rows.push(ComponentRow { step, layer, token, component, probe, score, chance, lo, hi, n: 10 });
                };
                row(Token::X(10), ProbeReading::CD, score);
                row(Token::X(10), ProbeReading::of(ProbeKind::Quadratic), score.sqrt());
                row(Token::X(10), ProbeReading::control(ProbeKind::CD, Control::Shuffled), 0.24);
                row(Token::Y(9), ProbeReading::CD, 0.3);
            }
        }
        rows
    }

    const STEPS: [usize; 4] = [0, 2000, 6000, 10_000];

    #[test]
    fn shows_every_site_step_and_probe() {
        let svg = sites(&rows(&STEPS, 6)).unwrap();
        check("sites", &svg);
        for label in ["token x10", "step 0", "step 10,000", "CD (kNN)", "quadratic probe", "chance", "layer"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        for (name, _) in Component::ALL.map(look) {
            assert_eq!(svg.matches(&format!("\n{name}\n")).count(), 2, "{name} is named once a row");
        }
        assert_eq!(svg.matches("<polygon").count(), 4 * 4 * 2, "one band a site");
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("sites-many", &sites(&rows(&[0, 1, 2, 4, 8, 16, 10_000], 48)).unwrap());
        let mut one = rows(&[7], 1);
        one.retain(|row| row.probe == ProbeReading::CD);
        check("sites-one", &sites(&one).unwrap());
        for value in [f64::NAN, f64::INFINITY, -1e300, 0.0, 1.0] {
            let mut rows = rows(&[0, 10], 2);
            rows.iter_mut().step_by(3).for_each(|row| (row.score, row.chance, row.lo) = (value, value, value));
            check(&format!("sites-{value:e}"), &sites(&rows).unwrap());
        }
    }

    #[test]
    fn where_no_x_was_probed_another_token_is_drawn_and_an_empty_table_is_named() {
        let mut only_y = rows(&STEPS, 2);
        only_y.retain(|row| row.token == Token::Y(9));
        assert!(sites(&only_y).unwrap().contains("token y9"));
        assert!(matches!(sites(&[]), Err(PlotError::Empty { figure: "sites", .. })));
    }
}
