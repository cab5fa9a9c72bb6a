//! Squared errors on the held-out prompts, of whoever answers them.

use data::{Predictor, Prompt, TaskError};
use probe::{Prompts, Study};
use rayon::prelude::*;

/// The fixed prompts of numbers that errors are measured on, the same number of every concept.
#[derive(Clone, Debug)]
pub struct HeldOut<'a> {
    study: &'a Study,
    prompts: Prompts,
}

/// A mean over some prompts and positions; `None` is all of them.
pub(crate) struct Cell {
    pub(crate) concept: Option<String>,
    pub(crate) position: Option<usize>,
    pub(crate) mean: f64,
}

impl<'a> HeldOut<'a> {
    /// The prompts that belong to the study's seed.
    ///
    /// # Errors
    /// When the task cannot make them.
    ///
    /// # Panics
    /// When the study is of text.
    pub fn new(study: &'a Study) -> Result<Self, TaskError> {
        let prompts = study.held_out()?;
        assert!(matches!(prompts, Prompts::Pairs(_)), "text has no squared error");
        Ok(Self { study, prompts })
    }

    /// The prompts, concept by concept.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// A closed-form predictor's predictions, `[n_prompts][n_points]`.
    pub(crate) fn predictions(&self, predictor: &dyn Predictor) -> Vec<Vec<f64>> {
        self.prompts.pairs().par_iter().map(|prompt| predictor.predict(prompt)).collect()
    }

    /// E\[y²\] under the prior over concepts, the error of always predicting zero.
    pub fn mean_square(&self) -> f64 {
        self.errors(&vec![vec![0.0; self.study.n_points()]; self.prompts.len()])[0].mean
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
        squared_differences(predictions, &self.prompts.pairs().iter().map(widen).collect::<Vec<_>>())
    }

    /// Means of `[n_prompts][n_points]` values: over everything (first), every position, every concept, and both.
    /// Means over concepts weigh each by its prior.
    pub(crate) fn cells(&self, values: &[Vec<f64>]) -> Vec<Cell> {
        let concepts = self.study.concepts();
        let n_points = self.study.n_points();
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
