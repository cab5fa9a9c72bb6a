//! How much CD depends on the settings of the probe that the paper fixed: k and N.

use model::{Device, FusedBackend, Transformer};
use rayon::prelude::*;
use run::{Experiment, RunDir, RunError, SensitivityRow};

use crate::decodability::accuracy;
use crate::stages::{OnModel, best_layer, with_model};
use crate::{Decodability, Distance, Knn, Probe, Representations, States, resample_states};

/// Neighbours that are tried, as far as there are so many states.
const NEIGHBOURS: [usize; 6] = [1, 3, 5, 10, 20, 50];

/// Writes CD of the checkpoint at `step` with other numbers of neighbours, and with a quarter, half and twice as many
/// prompts: at every probed token, at the layer that is best at the end of training with the run's own settings.
///
/// # Errors
/// When the checkpoint cannot be read or the table not be written.
pub fn write_sensitivity(
    run: &RunDir,
    experiment: &Experiment,
    step: usize,
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let tokens = experiment.tokens.iter();
    let layers = tokens.map(|&token| best_layer(run, experiment, token)).collect::<Result<Vec<_>, _>>()?;
    let usual = experiment.config.probe.prompts_per_concept;
    // A concept needs two prompts to have a neighbour of its own.
    let mut sizes = [usual / 4, usual / 2, usual, 2 * usual].map(|size| size.max(2)).to_vec();
    sizes.dedup();
    let mut rows = Vec::new();
    for size in sizes {
        progress(size);
        let mut changed = experiment.clone();
        changed.config.probe.prompts_per_concept = size;
        rows.extend(with_model(run, experiment, step, device, Vary { experiment: &changed, step, layers: &layers })?);
    }
    Ok(run.table().replace(&rows)?)
}

struct Vary<'a> {
    experiment: &'a Experiment,
    step: usize,
    /// One a token.
    layers: &'a [usize],
}

impl OnModel for Vary<'_> {
    type Output = Vec<SensitivityRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Self::Output {
        let Self { experiment, step, layers } = self;
        let concepts = experiment.task.concepts().len();
        let prompts_per_concept = experiment.config.probe.prompts_per_concept;
        let others = concepts * prompts_per_concept - 1;
        let resamples = (0..experiment.config.probe.resamples).into_par_iter();
        let states: Vec<Representations> =
            resamples.map(|resample| resample_states(model, experiment, resample, device)).collect();
        let mut rows = Vec::new();
        for (index, (token, &layer)) in experiment.tokens.iter().zip(layers).enumerate() {
            let places: Vec<_> = states.iter().map(|states| (states.states(layer, index), &states.labels)).collect();
            for neighbours in NEIGHBOURS.into_iter().filter(|&neighbours| neighbours <= others) {
                let knn = Knn { neighbours, distance: Distance::Euclidean };
                let score = |(states, labels): &(States, &Vec<usize>)| {
                    accuracy(labels, &knn.guess(states, &[labels.as_slice()])[0])
                };
                let Decodability { score, lo, hi, n } =
                    Decodability::over(&places.par_iter().map(score).collect::<Vec<_>>());
                let (token, chance) = (token.to_string(), 1.0 / concepts as f64);
                rows.push(SensitivityRow {
                    step,
                    layer,
                    token,
                    prompts_per_concept,
                    neighbours,
                    score,
                    chance,
                    lo,
                    hi,
                    n,
                });
            }
        }
        rows
    }
}
