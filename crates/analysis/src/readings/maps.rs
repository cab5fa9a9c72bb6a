//! Hidden states in a plane, at a few layers and checkpoints.

use data::{Purpose, Stream};
use model::{Device, FusedBackend, Transformer};
use rayon::prelude::*;
use run::{Experiment, MapRow, RunDir, RunError};

use super::{MILESTONES, milestones};
use crate::stages::{OnModel, best_layer, spread, with_model};
use crate::{MapMethod, resample_states};

/// Writes the map of the hidden states at the first probed token, for a few checkpoints from first to last: at `layers`,
/// by default a few from the embedding to the layer that is best at the end of training. Maps by other methods stay in
/// the table. `progress` is told each step before it is mapped.
///
/// # Errors
/// When a checkpoint cannot be read or the table not be written.
///
/// # Panics
/// With fewer prompts than [`MapMethod::fewest_states`].
pub fn write_map(
    run: &RunDir,
    experiment: &Experiment,
    method: MapMethod,
    layers: &[usize],
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let layers = match layers {
        [] => spread(&(0..=best_layer(run, experiment, experiment.tokens[0])?).collect::<Vec<_>>(), MILESTONES),
        asked => asked.to_vec(),
    };
    let table = run.table::<MapRow>();
    let mut rows = table.read()?;
    rows.retain(|row| row.method != method.name());
    for step in milestones(run, experiment, &[])? {
        progress(step);
        rows.extend(with_model(run, step, device, Map { experiment, method, step, layers: &layers })?);
    }
    rows.sort_by(|a, b| a.method.cmp(&b.method));
    table.replace(&rows)
}

struct Map<'a> {
    experiment: &'a Experiment,
    method: MapMethod,
    step: usize,
    layers: &'a [usize],
}

impl OnModel for Map<'_> {
    type Output = Vec<MapRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<MapRow> {
        let states = resample_states(model, self.experiment, 0, device);
        let concepts = self.experiment.task.concepts();
        // The same draws at every step and layer, so that panels differ by their states alone.
        let stream = Stream::new(self.experiment.config.seed, Purpose::Map);
        let of_layer = |&layer: &usize| {
            let plane = self.method.plane(&states.states(layer, 0), stream);
            let row = |(&[x, y], &label): (&[f64; 2], &usize)| MapRow {
                method: self.method.name().to_owned(),
                step: self.step,
                layer,
                token: states.tokens[0].to_string(),
                concept: concepts[label].name.clone(),
                x,
                y,
                explained_x: plane.explained.map(|[first, _]| first),
                explained_y: plane.explained.map(|[_, second]| second),
            };
            plane.points.iter().zip(&states.labels).map(row).collect::<Vec<_>>()
        };
        self.layers.par_iter().flat_map_iter(of_layer).collect()
    }
}
