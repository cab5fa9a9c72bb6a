//! Errors on the held-out prompts.

mod rows;
mod show;

use probe::{Study, Subject};

pub use rows::{MetricRow, Split};

use super::held_out::{Cell, HeldOut};
use super::{Live, MeasureError, Measurement, Needs, NoOptions, Session};
use crate::show::{Section, Shown};

/// The model's squared error on the held-out prompts, at every checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Errors;

impl Measurement for Errors {
    const NAME: &'static str = "errors";
    const ABOUT: &'static str = "Measure the held-out error again, at every checkpoint";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["emergence"];
    type Options = NoOptions;
    type Plan = Vec<usize>;
    type Rows = Vec<MetricRow>;

    fn plan(NoOptions {}: NoOptions, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        Ok(session.subjects.steps()?)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Vec<MetricRow>, MeasureError> {
        session.over_steps(steps, |subject, step| Self::at(session.study, subject, step))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

impl Live for Errors {
    fn at(study: &Study, subject: &dyn Subject, step: usize) -> Result<Vec<MetricRow>, MeasureError> {
        let held_out = HeldOut::new(study)?;
        let scale = held_out.mean_square();
        let row = |Cell { concept, position, mean: mse }| MetricRow {
            step,
            split: Split::Eval,
            concept,
            position,
            mse,
            relative_mse: mse / scale,
        };
        let answers = subject.plain_answers(held_out.prompts())?;
        Ok(held_out.errors(answers.numbers()).into_iter().map(row).collect())
    }

    fn headline(rows: &Vec<MetricRow>, shown: &Shown<'_>) -> Option<String> {
        let overall = over_all(rows)?;
        Some(match shown.optimal_error().ok()? {
            Some(optimal) => format!("error {:.2} × optimal", overall.relative_mse / optimal),
            None => format!("error {:.3} of E[y²]", overall.relative_mse),
        })
    }
}

/// The row over all concepts and positions, among those of one step.
pub(crate) fn over_all(rows: &[MetricRow]) -> Option<&MetricRow> {
    rows.iter().find(|row| row.concept.is_none() && row.position.is_none())
}
