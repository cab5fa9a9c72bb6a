//! The tables of a run as curves.

use std::collections::BTreeMap;

use data::{Legend, Token};
use plots::explore::{Curves, Level, Line, Values};
use probe::{Control, ProbeKind};
use record::{RecordError, Row};

use crate::measurements::sorted;
use crate::show::Shown;
use crate::style::predictor_style;
use crate::{AccuracyRow, BaselineRow, DecodabilityRow, MetricRow, Split};

/// What tells a line from the others, in their order: layer, token, probe by its place in the list of all, control, concept.
type Key = (Option<usize>, Option<Token>, Option<usize>, Option<&'static str>, Option<usize>);

/// How well every probe and control does at every layer and token.
pub(super) fn scores(shown: &Shown<'_>) -> Result<Curves, RecordError> {
    let rows: Vec<DecodabilityRow> = shown.rows()?;
    let key = |row: &DecodabilityRow| {
        let probe = ProbeKind::ALL.iter().position(|probe| *probe == row.probe.probe);
        let concept = place(shown.legend, row.concept.as_deref())?;
        // No model has seen the bag of answers, so it has no layer.
        let layer = (row.probe.control != Some(Control::Bag)).then_some(row.layer.0);
        Some((layer, Some(row.token), probe, row.probe.control.map(Control::label), concept))
    };
    let value = |row: &DecodabilityRow| [row.score, row.lo, row.hi];
    Ok(curves(&rows, key, |values| Values::with_intervals(values.map(|row| row.map(value)))))
}

/// The error on numbers, or the exact answers to text at the token where they are read.
pub(super) fn answers(shown: &Shown<'_>) -> Result<Curves, RecordError> {
    if shown.legend.is_of_text() {
        let rows: Vec<AccuracyRow> = shown.rows()?;
        let key = |row: &AccuracyRow| {
            let concept = place(shown.legend, row.concept.as_deref())?;
            Some((None, Some(Token::X(row.shots + 1)), None, None, concept))
        };
        let value = |row: &AccuracyRow| [row.accuracy, row.lo, row.hi];
        return Ok(curves(&rows, key, |values| Values::with_intervals(values.map(|row| row.map(value)))));
    }
    let mut rows: Vec<MetricRow> = shown.rows()?;
    rows.retain(|row| row.split == Split::Eval && row.position.is_none());
    let key = |row: &MetricRow| Some((None, None, None, None, place(shown.legend, row.concept.as_deref())?));
    Ok(curves(&rows, key, |values| Values::plain(values.map(|row| row.map(|row| row.relative_mse)))))
}

/// What [`answers`] are, as the title of an axis.
pub(super) fn answers_title(legend: &Legend) -> &'static str {
    if legend.is_of_text() { "exact answers" } else { "squared error / E[y²]" }
}

/// The errors of the reference predictors.
pub(super) fn levels(shown: &Shown<'_>) -> Result<Vec<Level>, RecordError> {
    let mut rows: Vec<BaselineRow> = shown.rows()?;
    rows.retain(|row| row.position.is_none() && row.relative_mse.is_finite());
    let level = |(index, row): (usize, &BaselineRow)| {
        let name = predictor_style(shown.legend, &row.predictor, index).label;
        Some(Level { name, concept: place(shown.legend, row.concept.as_deref())?, value: row.relative_mse })
    };
    Ok(rows.iter().enumerate().filter_map(level).collect())
}

/// A concept's place in the task's order, or that of all concepts together; none where the task has no such concept.
fn place(legend: &Legend, concept: Option<&str>) -> Option<Option<usize>> {
    match concept {
        None => Some(None),
        Some(name) => legend.place(name).map(Some),
    }
}

/// Rows as lines over the steps that any of them has.
fn curves<R: Row>(
    rows: &[R],
    key: impl Fn(&R) -> Option<Key>,
    values: impl Fn(&mut dyn Iterator<Item = Option<&R>>) -> Values,
) -> Curves {
    let steps = sorted(rows.iter().filter_map(Row::step).collect());
    let mut lines: BTreeMap<Key, BTreeMap<usize, &R>> = BTreeMap::new();
    for row in rows {
        if let (Some(step), Some(key)) = (row.step(), key(row)) {
            lines.entry(key).or_default().insert(step, row);
        }
    }
    let line = |((layer, token, probe, control, concept), rows): (Key, BTreeMap<usize, &R>)| Line {
        layer,
        token: token.map(|token| token.to_string()),
        probe: probe.map(|place| ProbeKind::ALL[place].name().to_owned()),
        control: control.map(str::to_owned),
        concept,
        values: values(&mut steps.iter().map(|step| rows.get(step).copied())),
    };
    let lines = lines.into_iter().map(line).collect();
    Curves { lines, steps }
}
