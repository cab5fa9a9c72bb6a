//! CD by depth, beside everything that can be read without inferring the concept.

use data::Token;
use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel};
use plots::style::{GREY, INK, UNITS};
use plots::ticks::{evenly, labelled, number, ticks};
use probe::{Control, ProbeKind, ProbeReading};

use super::DecodabilityRow;
use super::show::at_query;
use crate::measurements::shots::shots_before;

const HEIGHT: u32 = 560 * UNITS;

/// Draws CD over all concepts against the layer, at the last step and after the most demonstrations, with its 95% interval;
/// the same for states of prompts with permuted answers, of the untrained model, and with permuted labels; the bag of answers
/// as a level; and the level of guessing.
///
/// # Errors
/// [`PlotError::Empty`] if `cd` has no row over all concepts.
pub(super) fn layers(cd: &[DecodabilityRow]) -> Result<String, PlotError> {
    let decoded = at_query(cd).ok_or(PlotError::Empty { figure: "layers", origin: "cd.csv (knn, all concepts)" })?;
    let (token, last) = (decoded.token, decoded.rows.iter().map(|row| row.step).max().unwrap_or(0));
    let top = decoded.rows.iter().map(|row| row.layer.0).max().unwrap_or(0) as f64;
    let of = |control: Option<Control>| of_control(cd, token, last, control);
    let line = |rows: &[&DecodabilityRow]| rows.iter().map(|row| (row.layer.0 as f64, row.score)).collect::<Vec<_>>();
    let level =
        |label: &str, color, height: f64, dash| Curve::new(label, color, [(0.0, height), (top, height)]).dashed(dash);
    let mut curves = vec![level(&format!("chance {}", decoded.chance_text()), GREY, decoded.chance, (4, 10))];
    let bag = of(Some(Control::Bag));
    curves.extend(bag.first().map(|row| level("bag of answers, no model", INK, row.score, (16, 10))));
    let controls =
        [(Control::Shuffled, GREY), (Control::Untrained, color_of(4)), (Control::PermutedAnswers, color_of(1))];
    for (control, color) in controls {
        let rows = of(Some(control));
        let band = rows.iter().map(|row| (row.layer.0 as f64, row.lo..row.hi));
        // That of permuted labels would hide the level of guessing.
        let band: Vec<_> = band.filter(|_| control != Control::Shuffled).collect();
        curves.extend((!rows.is_empty()).then(|| Curve::new(control.label(), color, line(&rows)).with_band(band)));
    }
    let rows = of(None);
    let band = rows.iter().map(|row| (row.layer.0 as f64, row.lo..row.hi));
    curves.push(Curve::new("true prompts", color_of(0), line(&rows)).with_band(band));
    let marks = evenly(top as usize + 1, 11).into_iter().map(|layer| layer as f64).collect();
    let panel = Panel {
        title: format!("CD by layer {}, with 95% interval", after(token)),
        x: Axis::new("layer (0 = embedding)", 0.0..top, labelled(marks, number)),
        y: Axis::new("Concept Decodability", 0.0..1.02, labelled(ticks(&(0.0..1.0), 5), number)),
        curves,
    };
    panel.figure(HEIGHT)
}

/// CD or a control of it over all concepts at the last step, by layer.
fn of_control(cd: &[DecodabilityRow], token: Token, last: usize, control: Option<Control>) -> Vec<&DecodabilityRow> {
    let reading = ProbeReading { probe: ProbeKind::CD, control };
    let here = |row: &&DecodabilityRow| {
        row.probe == reading && row.token == token && row.step == last && row.concept.is_none()
    };
    let mut rows: Vec<&DecodabilityRow> = cd.iter().filter(here).filter(|row| row.score.is_finite()).collect();
    rows.sort_by_key(|row| row.layer);
    rows
}

fn after(token: Token) -> String {
    match shots_before(token) {
        0 => "without demonstrations".to_owned(),
        1 => "after one demonstration".to_owned(),
        shots => format!("after {shots} demonstrations"),
    }
}

pub(super) const CAPTION: &str = "Concept Decodability by layer, beside what can be read without the concept being inferred. Only what lies above the line of permuted answers is inferred from how inputs and answers belong together: in those prompts every answer is there, at another input. What lies at that line may be the words of the answers alone. Where words of different concepts differ, as with word classes, the two lines are the same; compare the bag of answers there, which is scored without a model. The untrained model shows what its shape alone lets through.";

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::*;
    use crate::planted::{check, noise};

    /// As bitwise operators have it: the words of answers are read early, and the operator late.
    fn rows(layers: usize) -> Vec<DecodabilityRow> {
        let mut rows = Vec::new();
        for layer in 0..layers {
            let depth = layer as f64 / layers as f64;
            let words = if layer == 0 { 1.0 / 6.0 } else { 0.4 };
            let inferred = 0.3 / (1.0 + (-20.0 * (depth - 0.5)).exp());
            let mut row = |control: Option<Control>, score: f64| {
                let score = score + 0.01 * noise(rows.len());
                rows.push(DecodabilityRow {
                    step: 0,
                    layer: Layer(layer),
                    token: Token::X(5),
                    probe: ProbeReading { probe: ProbeKind::CD, control },
                    concept: None,
                    score,
                    chance: 1.0 / 6.0,
                    lo: score - 0.03,
                    hi: score + 0.03,
                    n: 10,
                });
            };
            row(None, words + if layer == 0 { 0.0 } else { inferred });
            row(Some(Control::PermutedAnswers), words);
            row(Some(Control::Untrained), 1.0 / 6.0 + 0.08 * depth.sqrt());
            row(Some(Control::Shuffled), 0.16);
            if layer == 0 {
                row(Some(Control::Bag), 0.38);
            }
        }
        rows
    }

    #[test]
    fn every_control_is_a_line() {
        let svg = layers(&rows(31)).unwrap();
        check("layers", &svg);
        let names =
            ["true prompts", "permuted answers", "untrained", "permuted labels", "bag of answers", "chance 0.167"];
        for label in names.iter().chain(&["after 4 demonstrations"]) {
            assert!(svg.contains(label), "{label} is missing");
        }
        assert_eq!(svg.matches("<polygon").count(), 3);
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        let mut odd = rows(3);
        odd[1].score = f64::NAN;
        odd.retain(|row| row.probe.control != Some(Control::Untrained));
        check("layers-odd", &layers(&odd).unwrap());
        check("layers-one", &layers(&rows(1)[..1]).unwrap());
        assert!(matches!(layers(&[]), Err(PlotError::Empty { figure: "layers", .. })));
    }
}
