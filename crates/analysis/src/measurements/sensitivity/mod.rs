//! How much CD depends on the settings of the probe that the paper fixed: k and N.

mod rows;
mod show;

use probe::{Distance, Knn, Layer, Probe, States, Study, Subject, accuracy};
use rayon::prelude::*;

pub use rows::SensitivityRow;

use super::decodability::{Resample, states_at};
use super::{MeasureError, Measurement, Needs, OneStep, OverResamples, Session};
use crate::show::{Section, Shown};

/// Neighbours that are tried, as far as there are so many states.
const NEIGHBOURS: [usize; 6] = [1, 3, 5, 10, 20, 50];

/// CD with other numbers of neighbours, and with a quarter, half and twice as many prompts, if there are so many: at every
/// probed token, at the layer that is best at the end of training with the run's own settings.
#[derive(Clone, Copy, Debug)]
pub struct Sensitivity;

/// What is measured where.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    step: usize,
    /// One a probed token.
    layers: Vec<Layer>,
}

impl Measurement for Sensitivity {
    const NAME: &'static str = "sensitivity";
    const ABOUT: &'static str = "Measure how decodability depends on k and the number of prompts";
    const NEEDS: Needs = Needs::States;
    type Options = OneStep;
    type Plan = Plan;
    type Rows = Vec<SensitivityRow>;

    fn plan(OneStep { step }: OneStep, session: &Session<'_>) -> Result<Plan, MeasureError> {
        Ok(Plan { step: session.step(step)?, layers: session.best_layers()? })
    }

    fn measure(Plan { step, layers }: &Plan, session: &Session<'_>) -> Result<Vec<SensitivityRow>, MeasureError> {
        let usual = session.study.probe.prompts_per_concept;
        // A concept needs two prompts to have a neighbour of its own.
        let mut sizes = [usual / 4, usual / 2, usual, 2 * usual].map(|size| size.max(2)).to_vec();
        sizes.dedup();
        sizes.retain(|&size| session.study.check_probed(size).is_ok());
        let subject = session.subjects.at(*step)?;
        let mut rows = Vec::new();
        for size in sizes {
            (session.progress)(&format!("{size} prompts a concept"));
            let mut study = session.study.clone();
            study.probe.prompts_per_concept = size;
            rows.extend(with_neighbours(&study, &*subject, *step, layers)?);
        }
        Ok(rows)
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

fn with_neighbours(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
    layers: &[Layer],
) -> Result<Vec<SensitivityRow>, MeasureError> {
    let prompts_per_concept = study.probe.prompts_per_concept;
    let others = study.concepts().len() * prompts_per_concept - 1;
    let tried = NEIGHBOURS.into_iter().filter(|&neighbours| neighbours <= others);
    let tried: Vec<Knn> = tried.map(|neighbours| Knn { neighbours, distance: Distance::Euclidean }).collect();
    // Of a resample every number of neighbours at every token, before its states go.
    let scores = |Resample { tokens, labels }: Resample| -> Vec<f64> {
        let score = |states: &States, knn: &Knn| accuracy(&knn.guess(states, &[labels.as_slice()])[0]);
        tokens
            .into_values()
            .flat_map(|states| tried.iter().map(|knn| score(&states, knn)).collect::<Vec<_>>())
            .collect()
    };
    let resamples: Vec<Vec<f64>> = states_at(study, subject, layers)?.into_par_iter().map(scores).collect();
    let at_tokens = study.tokens.iter().zip(layers).flat_map(|at| tried.iter().map(move |knn| (at, knn.neighbours)));
    let row = |(index, ((&token, &layer), neighbours))| {
        let over: Vec<f64> = resamples.iter().map(|scores| scores[index]).collect();
        let (OverResamples { score, lo, hi, n }, chance) = (OverResamples::of(&over), study.chance());
        SensitivityRow { step, layer, token, prompts_per_concept, neighbours, score, chance, lo, hi, n }
    };
    Ok(at_tokens.enumerate().map(row).collect())
}
