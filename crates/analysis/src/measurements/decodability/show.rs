//! Decodability of every layer at every checkpoint, as a map of colours.

use std::collections::{BTreeMap, BTreeSet};

use data::Token;
use plots::PlotError;
use plots::color::viridis;
use plots::grid::{Cell, Grid};
use plots::heat::Scale;
use plots::page::ReportTable;
use plots::panel::Axis;
use plots::style::{UNITS, WIDTH, canvas};
use plots::ticks::{compact_number, evenly, labelled, marked, number, thousandths, ticks};
use probe::Control;

use super::DecodabilityRow;
use super::layers_figure::{CAPTION, layers};
use crate::MeasureError;
use crate::show::{Section, Shown, query};
use crate::summary::{DecodabilitySummary, Summary};

const MOST_LABELS: usize = 9;

/// Draws Concept Decodability (kNN, query's x token): layers from the embedding upwards, checkpoints left to right.
///
/// Columns have one width, whatever the distance of the checkpoints; colour runs from guessing to 1.
///
/// # Errors
/// [`PlotError::Empty`] if `cd` has no row over all concepts.
fn heatmap(cd: &[DecodabilityRow]) -> Result<String, PlotError> {
    let decoded = at_query(cd).ok_or(PlotError::Empty { figure: "heatmap", origin: "cd.csv (knn, all concepts)" })?;
    let steps: BTreeSet<usize> = decoded.rows.iter().map(|row| row.step).collect();
    let grid = decodability_grid(&decoded, &steps);
    let top = decoded.rows.iter().map(|row| row.layer.0).max().unwrap_or(0);
    let height = (30 * top as u32 + 250).clamp(420, 800) * UNITS;
    canvas((WIDTH, height), |area| grid.draw(area, grid.margins()?))
}

/// Decodability rows over all concepts at the token that figures show.
pub(in crate::measurements) struct AtQuery<'a> {
    pub(in crate::measurements) token: Token,
    pub(in crate::measurements) chance: f64,
    pub(in crate::measurements) rows: Vec<&'a DecodabilityRow>,
}

impl AtQuery<'_> {
    /// The level of guessing, to thousandths.
    pub(in crate::measurements) fn chance_text(&self) -> String {
        number(thousandths(self.chance))
    }
}

/// The rows of CD at the token that figures show; none if there is no row with a score.
pub(in crate::measurements) fn at_query(cd: &[DecodabilityRow]) -> Option<AtQuery<'_>> {
    let usable = |row: &&DecodabilityRow| row.is_cd() && row.concept.is_none() && row.score.is_finite();
    let rows: Vec<&DecodabilityRow> = cd.iter().filter(usable).collect();
    let token = query(rows.iter().map(|row| row.token))?;
    let rows: Vec<_> = rows.into_iter().filter(|row| row.token == token).collect();
    let chance = rows.iter().map(|row| row.chance).find(|chance| chance.is_finite()).unwrap_or(0.0);
    Some(AtQuery { token, chance, rows })
}

/// Decodability at those of the `steps` where it was measured.
pub(in crate::measurements) fn decodability_grid(decoded: &AtQuery<'_>, steps: &BTreeSet<usize>) -> Grid {
    let columns: BTreeMap<usize, usize> = steps.iter().enumerate().map(|(column, step)| (*step, column)).collect();
    let top = decoded.rows.iter().map(|row| row.layer.0).max().unwrap_or(0);
    let cell = |row: &&DecodabilityRow| {
        let column = *columns.get(&row.step)?;
        Some(Cell { column, row: row.layer.0, value: row.score, lines: Vec::new() })
    };
    Grid {
        title: format!("Concept Decodability at token {}", decoded.token),
        x: step_axis(steps),
        y: layer_axis(top),
        cells: decoded.rows.iter().filter_map(cell).collect(),
        scale: above_chance(decoded),
        bar: true,
    }
}

/// A cell for every step.
pub(in crate::measurements) fn step_axis(steps: &BTreeSet<usize>) -> Axis {
    let steps: Vec<usize> = steps.iter().copied().collect();
    let marks = marked(&steps, MOST_LABELS)
        .into_iter()
        .map(|column| (column as f64, compact_number(steps[column] as f64)))
        .collect();
    Axis::new("training step of the checkpoint", -0.5..steps.len() as f64 - 0.5, marks)
}

/// A cell for every layer up to `top`.
pub(in crate::measurements) fn layer_axis(top: usize) -> Axis {
    let layers = evenly(top + 1, 13).into_iter().map(|layer| layer as f64).collect();
    Axis::new("layer (0 = embedding)", -0.5..top as f64 + 0.5, labelled(layers, number))
}

/// From guessing to 1, with guessing named.
fn above_chance(decoded: &AtQuery<'_>) -> Scale {
    let mut marks = vec![(decoded.chance, format!("{} chance", decoded.chance_text()))];
    let above = |mark: &(f64, String)| mark.0 > decoded.chance;
    marks.extend(labelled(ticks(&(0.0..1.0), 5), number).into_iter().filter(above));
    Scale { range: decoded.chance..1.0, color: viridis, marks, root: false }
}

/// The sections of the report. Text has its controls by layer; a map of one step would say less.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let (summary, cd) = (Summary::read(shown)?, shown.rows::<DecodabilityRow>()?);
    let text = shown.legend.is_of_text();
    let steps: BTreeSet<usize> = cd.iter().map(|row| row.step).collect();
    let mut sections = Vec::new();
    if !text || steps.len() > 1 {
        let caption = heatmap_caption(&summary);
        let title = "Where and when the concept can be read";
        sections.extend(Section::figure("heatmap", title, caption, heatmap(&cd))?);
    }
    if text {
        sections.extend(Section::figure("layers", "Inferred, or read off the answers", CAPTION, layers(&cd))?);
    }
    if !text || !summary.decodability.is_empty() {
        sections.push(Section::Table(decodability_table(&summary)));
    }
    Ok(sections)
}

fn heatmap_caption(summary: &Summary) -> String {
    summary.at_query().map_or(String::new(), |token| {
        format!(
            "Concept Decodability of every layer at every checkpoint. At the end it is best at layer {} of the {} token; layer 0 is the embedding.",
            token.layer.0, token.token
        )
    })
}

fn decodability_table(summary: &Summary) -> ReportTable {
    let header = [
        "token",
        "probe",
        "layer",
        "first",
        "held-out",
        "95% interval",
        "optimistic",
        Control::Shuffled.label(),
        "chance",
    ];
    let is_there = |control: &Control| summary.decodability.iter().any(|read| read.control(*control).is_some());
    let controls: Vec<Control> = DecodabilitySummary::CONTROLS.into_iter().filter(is_there).collect();
    let number = |value: f64| format!("{value:.3}");
    let row = |read: &DecodabilitySummary| {
        let mut cells = vec![
            read.token.to_string(),
            read.probe.name().to_owned(),
            read.layer.0.to_string(),
            number(read.first),
            number(read.last),
            format!("{:.3} – {:.3}", read.interval[0], read.interval[1]),
            number(read.optimistic),
            number(read.shuffled),
            number(read.chance),
        ];
        cells.extend(controls.iter().map(|control| read.control(*control).map_or("–".to_owned(), number)));
        cells
    };
    let of_text = if controls.is_empty() { "" } else { OF_TEXT };
    ReportTable {
        title: "Final Concept Decodability".to_owned(),
        caption: format!(
            "CD is the accuracy of the probe knn. Held-out: the layer is chosen on one half of the resamples and scored on the other. Optimistic: chosen and scored on all of them, as in the paper. Permuted labels: the control, which must be near chance.{of_text}"
        ),
        header: header.into_iter().chain(controls.iter().map(|control| control.label())).map(str::to_owned).collect(),
        rows: summary.decodability.iter().map(row).collect(),
    }
}

const OF_TEXT: &str = " Permuted answers, untrained model and bag of answers: what the probe reads without the pairing of inputs and answers, without training, and from the words of the demonstrations' answers without a model.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, checkpoints, decodability};

    #[test]
    fn shows_a_cell_per_layer_and_checkpoint() {
        let steps = checkpoints();
        let bare = heatmap(&decodability(1, &steps[..1])).unwrap().matches("<rect").count();
        let svg = heatmap(&decodability(5, &steps)).unwrap();
        check("heatmap", &svg);
        assert_eq!(svg.matches("<rect").count() - bare, 5 * steps.len() - 1);
        for label in ["token x10", "layer (0 = embedding)", "0.25 chance", "10k"] {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("heatmap-one", &heatmap(&decodability(1, &[0])).unwrap());
        check("heatmap-deep", &heatmap(&decodability(49, &[0, 5])).unwrap());
        for chance in [0.0, 1.0, f64::NAN, 0.95, 1.0 / 3.0, 1.0 / 12.0] {
            let mut rows = decodability(3, &[0, 10]);
            rows[0].score = f64::NAN;
            rows.iter_mut().for_each(|row| row.chance = chance);
            check(&format!("heatmap-chance-{chance}"), &heatmap(&rows).unwrap());
        }
    }

    #[test]
    fn empty_table_is_named() {
        assert!(matches!(heatmap(&[]), Err(PlotError::Empty { figure: "heatmap", .. })));
    }

    #[test]
    fn the_query_is_the_last_x_token_by_number() {
        let cd = decodability(1, &[0]);
        assert_eq!(at_query(&cd).unwrap().token, Token::X(10));
        assert_eq!(query([Token::Y(9), Token::X(9), Token::X(10)].into_iter()), Some(Token::X(10)));
        assert_eq!(query([Token::Y(10), Token::Y(9)].into_iter()), Some(Token::Y(10)));
    }
}
