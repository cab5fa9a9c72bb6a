//! What the report says of answers.

use plots::page::ReportTable;

use super::points::points;
use super::{AccuracyRow, correlation, lines};
use crate::MeasureError;
use crate::show::{Section, Shown};

const SHOTS: &str = "Concept Decodability at the best layer (above) and the share of exact answers (below) by number of demonstrations. If the concept is inferred from the demonstrations, both rise with their number. Compare CD with the control of permuted answers before you call it inferred.";

const PRETRAINING: &str = "Concept Decodability at the best layer (above) and the share of exact answers (below) over pretraining, after the most demonstrations. Look for which of the two rises first.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let points = points(shown)?;
    let concepts = correlation::concepts_of(&points, shown);
    let sections = [
        Section::figure(
            "cd_accuracy",
            "Concepts that can be read are answered",
            correlation::CAPTION,
            correlation::figure(&points, &concepts),
        )?,
        Section::figure("shots", "More demonstrations", SHOTS, lines::shots(&points, &concepts))?,
        Section::figure("pretraining", "Over pretraining", PRETRAINING, lines::pretraining(&points, &concepts))?,
        accuracy_table(&shown.rows()?).map(Section::Table),
        correlation::table(&points).map(Section::Table),
    ];
    Ok(sections.into_iter().flatten().collect())
}

/// Every row of the last step; none where there is none.
fn accuracy_table(rows: &[AccuracyRow]) -> Option<ReportTable> {
    let step = rows.last()?.step;
    let row = |row: &AccuracyRow| {
        vec![
            row.concept.clone().unwrap_or_else(|| "all".to_owned()),
            row.shots.to_string(),
            format!("{:.3}", row.accuracy),
            format!("{:.3} – {:.3}", row.lo, row.hi),
            format!("{:.2}", row.log_probability),
            format!("{:.2} – {:.2}", row.log_probability_lo, row.log_probability_hi),
            row.n.to_string(),
        ]
    };
    let header = ["concept", "demonstrations", "exact", "95% interval", "log-probability", "95% interval", "prompts"];
    Some(ReportTable {
        title: "Exact answers".to_owned(),
        caption: "Share of held-out prompts whose right answer is what greedy decoding gives, with Wilson's interval, and the mean natural logarithm of the right answer's probability in nats, with a bootstrap over prompts.".to_owned(),
        header: header.map(str::to_owned).to_vec(),
        rows: rows.iter().filter(|row| row.step == step).map(row).collect(),
    })
}
