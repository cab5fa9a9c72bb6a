//! The algorithm trace: which closed-form predictor the model answers like.

mod rows;
mod show;

use std::collections::BTreeMap;

use data::{Legend, Role, TaskError};
use probe::Study;

pub use rows::AlgorithmRow;

use super::held_out::{Cell, HeldOut};
use super::{MeasureError, Measurement, Needs, NoOptions, Session};
use crate::show::{Section, Shown};

/// How far the model's answers are from those of every closed-form predictor, at every checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct AlgorithmTrace;

impl Measurement for AlgorithmTrace {
    const NAME: &'static str = "algorithms";
    const ABOUT: &'static str = "Compare the model's predictions with closed-form predictors'";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["algorithms"];
    type Options = NoOptions;
    type Plan = Vec<usize>;
    type Rows = Vec<AlgorithmRow>;

    fn plan(NoOptions {}: NoOptions, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        let task = session.study.task.pairs();
        if task.predictors().is_empty() && task.algorithms().is_empty() {
            return Err(MeasureError::out_of_range("task.kind", "one with closed-form predictors", "one without"));
        }
        Ok(session.subjects.steps()?)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Vec<AlgorithmRow>, MeasureError> {
        let algorithms = Algorithms::new(session.study)?;
        session.over_steps(steps, |subject, step| {
            let answers = subject.plain_answers(algorithms.held_out.prompts())?;
            Ok(algorithms.rows(answers.numbers(), step))
        })
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// The closed-form predictors' answers to the held-out prompts, for the model's to be compared with.
#[derive(Debug)]
pub struct Algorithms<'a> {
    held_out: HeldOut<'a>,
    /// E[y²], which everything is divided by.
    scale: f64,
    answers: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    predictor: String,
    /// `[n_prompts][n_points]`
    predictions: Vec<Vec<f64>>,
    /// Relative errors of the predictions, in the order of [`HeldOut::errors`].
    errors: Vec<f64>,
}

impl<'a> Algorithms<'a> {
    /// Of all predictors and algorithms of the study's task.
    ///
    /// # Errors
    /// When the task cannot make the prompts.
    pub fn new(study: &'a Study) -> Result<Self, TaskError> {
        let held_out = HeldOut::new(study)?;
        let scale = held_out.mean_square();
        let task = study.task.pairs();
        let answers = task.predictors().into_iter().chain(task.algorithms()).map(|predictor| {
            let predictions = held_out.predictions(predictor.as_ref());
            let errors = held_out.errors(&predictions).into_iter().map(|cell| cell.mean / scale).collect();
            Known { predictor: predictor.name().to_owned(), predictions, errors }
        });
        Ok(Self { answers: answers.collect(), scale, held_out })
    }

    /// Distances of a model's predictions after `step` steps of training from every predictor's.
    fn rows(&self, predictions: &[Vec<f64>], step: usize) -> Vec<AlgorithmRow> {
        let mut rows = Vec::new();
        for answers in &self.answers {
            let distances = self.held_out.distances(predictions, &answers.predictions);
            for (Cell { concept, position, mean }, &relative_mse) in distances.into_iter().zip(&answers.errors) {
                let predictor = answers.predictor.clone();
                rows.push(AlgorithmRow {
                    step,
                    predictor,
                    concept,
                    position,
                    distance: mean / self.scale,
                    relative_mse,
                });
            }
        }
        rows
    }
}

/// The row of the nearest predictor at every step, in order, for one concept or position or over all (`None`).
///
/// The oracle is left out: it is told what a model has to infer. Among equals the first in the table is chosen.
pub fn nearest<'a>(
    rows: &'a [AlgorithmRow],
    legend: &Legend,
    concept: Option<&str>,
    position: Option<usize>,
) -> Vec<&'a AlgorithmRow> {
    let mut found: BTreeMap<usize, &AlgorithmRow> = BTreeMap::new();
    let of_cell = |row: &&AlgorithmRow| row.concept.as_deref() == concept && row.position == position;
    let can_be_learned = |row: &&AlgorithmRow| legend.role(&row.predictor) != Role::Oracle && row.distance.is_finite();
    for row in rows.iter().filter(of_cell).filter(can_be_learned) {
        let best = found.entry(row.step).or_insert(row);
        if row.distance < best.distance {
            *best = row;
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::study;

    /// Both sides sum the same few thousand f64 numbers, in another order.
    const SUM_TOLERANCE: f64 = 1e-12;

    fn legend() -> Legend {
        Legend::of(study().task.pairs().as_ref())
    }

    fn row(step: usize, predictor: &str, distance: f64) -> AlgorithmRow {
        let predictor = predictor.to_owned();
        AlgorithmRow { step, predictor, concept: None, position: None, distance, relative_mse: 0.5 }
    }

    #[test]
    fn the_nearest_is_no_oracle_and_the_first_among_equals() {
        let mut rows =
            vec![row(8, "lasso", 0.1), row(8, "bayes", f64::NAN), row(0, "ridge", 0.3), row(0, "bayes", 0.3)];
        rows.extend([row(0, "oracle", 0.0), AlgorithmRow { position: Some(3), ..row(8, "ridge", 0.0) }]);
        let found = |position| {
            nearest(&rows, &legend(), None, position).iter().map(|r| r.predictor.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(found(None), ["ridge", "lasso"]);
        assert_eq!(found(Some(3)), ["ridge"]);
        assert!(nearest(&rows, &legend(), Some("B1"), None).is_empty());
    }

    /// A planted model: one that answers as the lasso does is at no distance from it, and at the lasso's own distance
    /// from everything else.
    #[test]
    fn distances_are_means_of_squared_differences() {
        let study = study();
        let algorithms = Algorithms::new(&study).unwrap();
        let lasso = algorithms.answers.iter().find(|answers| answers.predictor == "lasso").unwrap();
        let rows = algorithms.rows(&lasso.predictions, 7);
        let at = |predictor: &str, concept: Option<&str>, position| {
            let of_cell = |row: &&AlgorithmRow| row.concept.as_deref() == concept && row.position == position;
            rows.iter().filter(of_cell).find(|row| row.predictor == predictor).unwrap().clone()
        };
        assert_eq!(at("lasso", None, None).distance, 0.0);
        assert_eq!(nearest(&rows, &legend(), None, None)[0].predictor, "lasso");
        assert_eq!(at("zero", None, None).relative_mse, 1.0);
        // No predictor knows anything before the first pair, and the predictor `zero` never does.
        assert_eq!(at("bayes", None, Some(1)).distance, 0.0);
        let squares: f64 = lasso.predictions.iter().flatten().map(|p| p * p).sum();
        let n = lasso.predictions.len() * 6;
        assert!((at("zero", None, None).distance * algorithms.scale - squares / n as f64).abs() < SUM_TOLERANCE);
        let last: f64 = lasso.predictions[20..].iter().map(|p| p[5] * p[5]).sum::<f64>() / 20.0;
        let found = at("zero", Some("B2 (2,3)"), Some(6)).distance * algorithms.scale;
        assert!((found - last).abs() < SUM_TOLERANCE, "{found} for {last}");
    }
}
