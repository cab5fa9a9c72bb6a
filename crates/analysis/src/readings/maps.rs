//! Hidden states in a plane, at a few layers and checkpoints.

use model::{Device, FusedBackend, Transformer};
use run::{Experiment, MapRow, RunDir, RunError};

use super::{MILESTONES, milestones};
use crate::stages::{OnModel, best_layer, spread, with_model};
use crate::{plane, resample_states};

/// Writes the map of the hidden states at the first probed token, for a few checkpoints from first to last: at `layers`,
/// by default a few from the embedding to the layer that is best at the end of training.
///
/// # Errors
/// When a checkpoint cannot be read or the table not be written.
pub fn write_map(run: &RunDir, experiment: &Experiment, layers: &[usize], device: Device) -> Result<(), RunError> {
    let layers = match layers {
        [] => spread(&(0..=best_layer(run, experiment, experiment.tokens[0])?).collect::<Vec<_>>(), MILESTONES),
        asked => asked.to_vec(),
    };
    let mut rows = Vec::new();
    for step in milestones(run, experiment, &[])? {
        rows.extend(with_model(run, step, device, Map { experiment, step, layers: &layers })?);
    }
    run.table().replace(&rows)
}

struct Map<'a> {
    experiment: &'a Experiment,
    step: usize,
    layers: &'a [usize],
}

impl OnModel for Map<'_> {
    type Output = Vec<MapRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<MapRow> {
        let states = resample_states(model, self.experiment, 0, device);
        let concepts = self.experiment.task.concepts();
        let mut rows = Vec::new();
        for &layer in self.layers {
            let found = plane(states.states(layer, 0).rows());
            rows.extend(found.points.iter().zip(&states.labels).map(|(&[x, y], &label)| MapRow {
                method: "pca".to_owned(),
                step: self.step,
                layer,
                token: states.tokens[0].to_string(),
                concept: concepts[label].name.clone(),
                x,
                y,
                explained_x: Some(found.explained[0]),
                explained_y: Some(found.explained[1]),
            }));
        }
        rows
    }
}
