//! What each attention head is worth to each concept.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::grid::draw_in_rows;
use plots::heat::Scale;
use plots::ticks::{evenly, grouped_number};

use super::AblationRow;
use crate::MeasureError;
use crate::measurements::head_map::{OfHead, head_map, map_height};
use crate::show::{Section, Shown, of_concepts};

/// Concepts with a panel of their own, beside that of all together.
const MOST_PRUNED: usize = 7;
const PANELS_A_ROW: usize = 2;

/// Draws the change of error when a head is switched off, layers upwards and heads along, one panel for all concepts
/// together and one for each of up to seven.
///
/// # Units
/// Error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `rows` is empty.
fn pruning(rows: &[AblationRow]) -> Result<String, PlotError> {
    let Some(first) = rows.first() else {
        return Err(PlotError::Empty { figure: "pruning", origin: "pruning.csv" });
    };
    let there = |row: &&AblationRow| (row.layer, row.head) == (first.layer, first.head);
    let concepts: Vec<&Option<String>> = rows.iter().filter(there).map(|row| &row.concept).collect();
    let concepts = evenly(concepts.len(), MOST_PRUNED + 1).into_iter().map(|index| concepts[index]);
    let layers = rows.iter().map(|row| row.layer).collect::<BTreeSet<_>>().len();
    let scale = Scale::around_zero(rows.iter().map(|row| row.change));
    let panel = |concept: &Option<String>| {
        let title = concept.clone().unwrap_or_else(|| format!("All concepts, step {}", grouped_number(first.step)));
        let here = rows.iter().filter(|row| row.concept == *concept);
        let values: Vec<OfHead> = here.map(|row| ((row.layer, Some(row.head)), row.change)).collect();
        head_map(title, "head switched off", &values, &scale)
    };
    draw_in_rows(concepts.map(panel).collect(), PANELS_A_ROW, map_height(layers))
}

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let rows = shown.rows()?;
    let caption = pruning_caption(&rows, shown.legend.concepts.len());
    Ok(Section::figure("pruning", "Heads", caption, pruning(&rows))?.into_iter().collect())
}

fn pruning_caption(rows: &[AblationRow], concepts: usize) -> String {
    rows.first().map_or(String::new(), |row| {
        let shown = of_concepts(concepts, MOST_PRUNED);
        format!(
            "Change of the error, averaged over positions, when one attention head is switched off; {} held-out prompts of every concept.{shown}",
            row.n
        )
    })
}

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::*;
    use crate::planted::{check, names, noise};

    fn pruned(concepts: usize, layers: usize, heads: usize) -> Vec<AblationRow> {
        let mut rows = Vec::new();
        for (layer, head) in (1..=layers).flat_map(|layer| (1..=heads).map(move |head| (layer, head))) {
            for concept in std::iter::once(None).chain(names(concepts).into_iter().map(Some)) {
                let change = if (layer, head) == (1, 2) { 2.5 } else { 0.1 * noise(rows.len()) };
                let (lo, hi) = (change - 0.01, change + 0.01);
                rows.push(AblationRow {
                    step: 12_000,
                    layer: Layer(layer),
                    head,
                    concept,
                    error: 0.3 + change,
                    change,
                    lo,
                    hi,
                    n: 250,
                });
            }
        }
        rows
    }

    #[test]
    fn shows_a_panel_for_every_concept() {
        let svg = pruning(&pruned(4, 6, 4)).unwrap();
        check("pruning", &svg);
        for label in
            names(4).iter().map(String::as_str).chain(["All concepts, step 12,000", "+2.5", "head switched off"])
        {
            assert!(svg.contains(label), "{label} is missing");
        }
        check("pruning-paper", &pruning(&pruned(6, 12, 8)).unwrap());
        check("pruning-many", &pruning(&pruned(40, 48, 64)).unwrap());
        check("pruning-one", &pruning(&pruned(1, 1, 1)).unwrap());
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        for value in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
            let mut rows = pruned(2, 3, 2);
            rows.iter_mut().skip(1).for_each(|row| row.change = value);
            check(&format!("pruning-{value:e}"), &pruning(&rows).unwrap());
        }
        assert!(matches!(pruning(&[]), Err(PlotError::Empty { figure: "pruning", .. })));
    }
}
