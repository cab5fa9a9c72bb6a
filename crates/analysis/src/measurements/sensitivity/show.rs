//! CD with other settings, as a table.

use std::collections::{BTreeMap, BTreeSet};

use data::Token;
use plots::page::ReportTable;

use super::SensitivityRow;
use crate::MeasureError;
use crate::show::{Section, Shown};

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    Ok(table(&shown.rows()?).into_iter().map(Section::Table).collect())
}

/// CD with other settings, where it was measured: a row for every token and number of prompts, a column for every k.
fn table(rows: &[SensitivityRow]) -> Option<ReportTable> {
    let first = rows.first()?;
    let neighbours: BTreeSet<usize> = rows.iter().map(|row| row.neighbours).collect();
    let mut cells: BTreeMap<(Token, usize), Vec<String>> = BTreeMap::new();
    for row in rows {
        let label = || vec![format!("{} at layer {}, N = {}", row.token, row.layer.0, row.prompts_per_concept)];
        let cell = format!("{:.3} [{:.2}, {:.2}]", row.score, row.lo, row.hi);
        cells.entry((row.token, row.prompts_per_concept)).or_insert_with(label).push(cell);
    }
    let mut header = vec!["prompts of every concept".to_owned()];
    header.extend(neighbours.iter().map(|neighbours| format!("k = {neighbours}")));
    let mut rows: Vec<Vec<String>> = cells.into_values().collect();
    // There can be fewer states than neighbours.
    rows.iter_mut().for_each(|row| row.resize(header.len(), "–".to_owned()));
    Some(ReportTable {
        title: "Sensitivity of Concept Decodability".to_owned(),
        caption: format!(
            "CD after {} steps with other numbers of neighbours k and prompts N, with the 95% interval over resamples.",
            first.step
        ),
        header,
        rows,
    })
}
