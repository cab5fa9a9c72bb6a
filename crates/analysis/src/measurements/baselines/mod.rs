//! Errors of the closed-form predictors on the held-out prompts: the levels that the model's are compared with.

mod rows;

use data::Prompt;
use rayon::prelude::*;

pub use rows::BaselineRow;

use super::{HeldOut, MeasureError, Measurement, Needs, NoOptions, Session};

/// The squared error of every predictor that the task has, and the posterior on the true concept of those that infer it.
#[derive(Clone, Copy, Debug)]
pub struct Baselines;

impl Measurement for Baselines {
    const NAME: &'static str = "baselines";
    const ABOUT: &'static str = "Compute the errors of the closed-form predictors";
    const NEEDS: Needs = Needs::Numbers;
    type Options = NoOptions;
    type Plan = ();
    type Rows = Vec<BaselineRow>;

    fn plan(NoOptions {}: NoOptions, _: &Session<'_>) -> Result<(), MeasureError> {
        Ok(())
    }

    fn measure((): &(), session: &Session<'_>) -> Result<Vec<BaselineRow>, MeasureError> {
        Ok(baselines(&HeldOut::new(session.study)?, session.study))
    }
}

fn baselines(held_out: &HeldOut<'_>, study: &probe::Study) -> Vec<BaselineRow> {
    let scale = held_out.mean_square();
    let mut rows = Vec::new();
    for predictor in study.task.pairs().predictors() {
        let predictions = held_out.predictions(predictor.as_ref());
        let truth = |prompt: &Prompt| {
            let posterior = predictor.posterior(prompt)?;
            Some(posterior.iter().map(|over| over[prompt.concept.0]).collect())
        };
        let posteriors: Option<Vec<Vec<f64>>> = held_out.prompts().pairs().par_iter().map(truth).collect();
        let posteriors = posteriors.map(|values| held_out.cells(&values));
        for (i, cell) in held_out.errors(&predictions).into_iter().enumerate() {
            rows.push(BaselineRow {
                predictor: predictor.name().to_owned(),
                concept: cell.concept,
                position: cell.position,
                mse: cell.mean,
                relative_mse: cell.mean / scale,
                posterior: posteriors.as_ref().map(|cells| cells[i].mean),
            });
        }
    }
    rows
}
