//! Hidden states in a plane, at a few layers and checkpoints.

use data::{Purpose, Stream};
use model::{Device, FusedBackend, Transformer};
use rayon::prelude::*;
use run::{Experiment, MapRow, RunDir, RunError};

use super::{MILESTONES, milestones};
use crate::stages::{OnModel, best_layer, spread, with_model};
use crate::{MapMethod, resample_states};

/// What is mapped, and how.
#[derive(Clone, Debug, Default)]
pub struct MapPlan {
    /// How states are brought into a plane.
    pub method: MapMethod,
    /// Which of the experiment's probed tokens has the states, by its place among them.
    pub token: usize,
    /// Layers, none for a few from the embedding to the layer that is best at the end of training.
    pub layers: Vec<usize>,
}

/// Writes the map of the hidden states for a few checkpoints from first to last. It takes the place of an earlier one by
/// the same method; maps by others stay in the table. `progress` is told each step before it is mapped.
///
/// # Errors
/// When a checkpoint cannot be read or the table not be written.
///
/// # Panics
/// With fewer prompts than [`MapMethod::fewest_states`].
pub fn write_map(
    run: &RunDir,
    experiment: &Experiment,
    plan: &MapPlan,
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let mut plan = plan.clone();
    if plan.layers.is_empty() {
        let best = best_layer(run, experiment, experiment.tokens[plan.token])?;
        plan.layers = spread(&(0..=best).collect::<Vec<_>>(), MILESTONES);
    }
    let table = run.table::<MapRow>();
    let mut rows = table.read()?;
    rows.retain(|row| row.method != plan.method.name());
    for step in milestones(run, experiment, &[])? {
        progress(step);
        rows.extend(with_model(run, experiment, step, device, Map { experiment, step, plan: &plan })?);
    }
    rows.sort_by(|a, b| a.method.cmp(&b.method));
    Ok(table.replace(&rows)?)
}

struct Map<'a> {
    experiment: &'a Experiment,
    step: usize,
    plan: &'a MapPlan,
}

impl OnModel for Map<'_> {
    type Output = Vec<MapRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<MapRow> {
        let MapPlan { method, token, ref layers } = *self.plan;
        let states = resample_states(model, self.experiment, 0, device);
        let concepts = self.experiment.task.concepts();
        // The same draws at every step and layer, so that panels differ by their states alone.
        let stream = Stream::new(self.experiment.config.seed, Purpose::Map);
        let of_layer = |&layer: &usize| {
            let plane = method.plane(&states.states(layer, token), stream);
            let row = |(&[x, y], &label): (&[f64; 2], &usize)| MapRow {
                method: method.name().to_owned(),
                step: self.step,
                layer,
                token: states.tokens[token].to_string(),
                concept: concepts[label].name.clone(),
                x,
                y,
                explained_x: plane.explained.map(|[first, _]| first),
                explained_y: plane.explained.map(|[_, second]| second),
            };
            plane.points.iter().zip(&states.labels).map(row).collect::<Vec<_>>()
        };
        layers.par_iter().flat_map_iter(of_layer).collect()
    }
}
