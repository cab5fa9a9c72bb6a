//! Squared errors on the held-out prompts: the model's, and those of the closed-form predictors.

use data::{Predictor, Prompt, Purpose, Sampler, Stream};
use model::{Kernels, Transformer};
use rayon::prelude::*;
use run::{BaselineRow, Experiment, MetricRow};

use crate::states::predict;

/// The fixed prompts that errors are measured on, the same number of every concept.
#[derive(Clone, Debug)]
pub struct HeldOut<'a> {
    experiment: &'a Experiment,
    prompts: Vec<Prompt>,
}

/// A mean over some prompts and positions; `None` is all of them.
pub(crate) struct Cell {
    pub(crate) concept: Option<String>,
    pub(crate) position: Option<usize>,
    pub(crate) mean: f64,
}

impl<'a> HeldOut<'a> {
    /// The prompts that belong to the experiment's seed.
    pub fn new(experiment: &'a Experiment) -> Self {
        let sampler = Sampler::new(experiment.task.clone(), Stream::new(experiment.config.seed, Purpose::Eval));
        Self { experiment, prompts: sampler.balanced(0, experiment.config.eval.prompts_per_concept) }
    }

    /// The prompts, concept by concept.
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// Errors of the model after `step` steps of training.
    pub fn model_errors<B: Kernels>(&self, model: &Transformer<B>, step: usize, device: &B::Device) -> Vec<MetricRow> {
        let scale = self.mean_square();
        let row = |Cell { concept, position, mean: mse }| MetricRow {
            step,
            split: "eval".to_owned(),
            concept,
            position,
            mse,
            relative_mse: mse / scale,
        };
        self.errors(&self.predictions(model, device)).into_iter().map(row).collect()
    }

    /// Errors of every predictor the task has, and the posterior on the true concept of those that infer it.
    pub fn baselines(&self) -> Vec<BaselineRow> {
        let scale = self.mean_square();
        let mut rows = Vec::new();
        for predictor in self.experiment.task.predictors() {
            let predictions = self.answers(predictor.as_ref());
            let truth = |prompt: &Prompt| {
                let posterior = predictor.posterior(prompt)?;
                Some(posterior.iter().map(|over| over[prompt.concept.0]).collect())
            };
            let posteriors: Option<Vec<Vec<f64>>> = self.prompts.par_iter().map(truth).collect();
            let posteriors = posteriors.map(|values| self.cells(&values));
            for (i, cell) in self.errors(&predictions).into_iter().enumerate() {
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

    /// The model's predictions, `[n_prompts][n_points]`.
    pub(crate) fn predictions<B: Kernels>(&self, model: &Transformer<B>, device: &B::Device) -> Vec<Vec<f64>> {
        predict(model, &self.prompts, device)
    }

    /// A closed-form predictor's predictions, `[n_prompts][n_points]`.
    pub(crate) fn answers(&self, predictor: &dyn Predictor) -> Vec<Vec<f64>> {
        self.prompts.par_iter().map(|prompt| predictor.predict(prompt)).collect()
    }

    /// E\[y²\] under the prior over concepts, the error of always predicting zero.
    pub fn mean_square(&self) -> f64 {
        self.errors(&vec![vec![0.0; self.experiment.architecture.n_points]; self.prompts.len()])[0].mean
    }

    /// Mean squared errors of predictions.
    pub(crate) fn errors(&self, predictions: &[Vec<f64>]) -> Vec<Cell> {
        self.cells(&self.squared_errors(predictions))
    }

    /// Mean squared differences of two sets of predictions.
    pub(crate) fn distances(&self, ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> Vec<Cell> {
        self.cells(&squared_differences(ours, theirs))
    }

    /// Squared errors of predictions at every pair of every prompt.
    ///
    /// # Shapes
    /// `[n_prompts][n_points]` to the same.
    pub(crate) fn squared_errors(&self, predictions: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let widen = |prompt: &Prompt| prompt.ys.iter().map(|&y| f64::from(y)).collect();
        squared_differences(predictions, &self.prompts.iter().map(widen).collect::<Vec<_>>())
    }

    /// Means of `[n_prompts][n_points]` values: over everything (first), every position, every concept, and both.
    /// Means over concepts weigh each by its prior.
    fn cells(&self, values: &[Vec<f64>]) -> Vec<Cell> {
        let concepts = self.experiment.task.concepts();
        let n_points = self.experiment.architecture.n_points;
        let per_concept = self.prompts.len() / concepts.len();
        let mean = |rows: &[Vec<f64>], i: usize| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64;
        let by_concept: Vec<Vec<f64>> =
            values.chunks_exact(per_concept).map(|rows| (0..n_points).map(|i| mean(rows, i)).collect()).collect();
        let weighted = |i: usize| concepts.iter().zip(&by_concept).map(|(c, means)| c.weight * means[i]).sum();
        let all: Vec<f64> = (0..n_points).map(weighted).collect();
        let mut cells = Vec::new();
        let named = concepts.iter().map(|concept| Some(concept.name.clone())).zip(by_concept);
        for (concept, means) in std::iter::once((None, all)).chain(named) {
            let overall = means.iter().sum::<f64>() / n_points as f64;
            cells.push(Cell { concept: concept.clone(), position: None, mean: overall });
            let at = |(i, mean)| Cell { concept: concept.clone(), position: Some(i + 1), mean };
            cells.extend(means.into_iter().enumerate().map(at));
        }
        cells
    }
}

fn squared_differences(ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of_prompt = |(ours, theirs): (&Vec<f64>, &Vec<f64>)| {
        ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).powi(2)).collect()
    };
    ours.iter().zip(theirs).map(of_prompt).collect()
}
