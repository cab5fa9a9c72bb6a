//! What can be computed again from the checkpoints of a run, table by table.

use model::{Device, FusedBackend, OnBackend, Transformer};
use run::{AlgorithmRow, BaselineRow, BestLayerRow, Experiment, MapRow, RunDir, RunError};

use crate::{Algorithms, HeldOut, decodability, plane, resample_states};

/// Checkpoints drawn side by side in the map.
const MAP_PANELS: usize = 4;

/// Writes the table of the closed-form predictors' errors.
pub fn write_baselines(run: &RunDir, experiment: &Experiment) -> Result<(), RunError> {
    run.table::<BaselineRow>().replace(&HeldOut::new(experiment).baselines())
}

/// Writes the decodability tables anew, from every checkpoint; `progress` is told each step before it is probed.
pub fn write_decodability(
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let (mut cd, mut best) = (Vec::new(), Vec::new());
    for step in run.scheduled_steps(experiment)? {
        progress(step);
        let tables = with_model(run, step, device, Decode { experiment, step })?;
        cd.extend(tables.cd);
        best.extend(tables.best);
    }
    run.table().replace(&cd)?;
    run.table().replace(&best)
}

/// Writes the distances of the model from every closed-form predictor, at every checkpoint; `progress` is told each
/// step before it is measured.
pub fn write_algorithms(
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let algorithms = Algorithms::new(experiment);
    let mut rows = Vec::new();
    for step in run.scheduled_steps(experiment)? {
        progress(step);
        rows.extend(with_model(run, step, device, Compare { algorithms: &algorithms, step })?);
    }
    run.table().replace(&rows)
}

/// Writes the principal components of the hidden states at the first probed token of `layer`, for a few checkpoints
/// from first to last, by default of the layer that is best at the end.
pub fn write_map(run: &RunDir, experiment: &Experiment, layer: Option<usize>, device: Device) -> Result<(), RunError> {
    let steps = run.scheduled_steps(experiment)?;
    let layer = layer.map_or_else(|| best_layer(run, experiment), Ok)?;
    let mut rows = Vec::new();
    for step in spread(&steps, MAP_PANELS) {
        rows.extend(with_model(run, step, device, Map { experiment, step, layer })?);
    }
    run.table().replace(&rows)
}

/// At most `most` of the steps, evenly spread, with the first and the last among them.
pub(crate) fn spread(steps: &[usize], most: usize) -> Vec<usize> {
    let chosen = most.min(steps.len());
    (0..chosen).map(|index| steps[index * (steps.len() - 1) / (chosen - 1).max(1)]).collect()
}

fn best_layer(run: &RunDir, experiment: &Experiment) -> Result<usize, RunError> {
    let token = experiment.tokens[0].to_string();
    let rows = run.table::<BestLayerRow>().read()?;
    let last = rows.iter().rfind(|row| row.token == token && row.selection == "held_out");
    Ok(last.map_or(experiment.architecture.n_layers, |row| row.layer))
}

/// Work on the model of a checkpoint, generic over the backend.
pub(crate) trait OnModel {
    type Output;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Self::Output;
}

/// Loads the checkpoint at `step` on `device` and does `work` on it.
pub(crate) fn with_model<W: OnModel>(
    run: &RunDir,
    step: usize,
    device: Device,
    work: W,
) -> Result<W::Output, RunError> {
    struct Load<W>(run::Checkpoint, W);
    impl<W: OnModel> OnBackend for Load<W> {
        type Output = W::Output;
        fn on<B: FusedBackend>(self, device: B::Device) -> W::Output {
            let model = Transformer::<B>::new(&self.0.architecture, &self.0.weights, &device);
            self.1.on(&model.expect("a checkpoint's weights are checked when it is read"), &device)
        }
    }
    Ok(device.run(Load(run.checkpoint(step)?, work)))
}

struct Decode<'a> {
    experiment: &'a Experiment,
    step: usize,
}

impl OnModel for Decode<'_> {
    type Output = crate::DecodabilityTables;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Self::Output {
        decodability(model, self.experiment, self.step, device)
    }
}

struct Compare<'a> {
    algorithms: &'a Algorithms<'a>,
    step: usize,
}

impl OnModel for Compare<'_> {
    type Output = Vec<AlgorithmRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<AlgorithmRow> {
        self.algorithms.distances(model, self.step, device)
    }
}

struct Map<'a> {
    experiment: &'a Experiment,
    step: usize,
    layer: usize,
}

impl OnModel for Map<'_> {
    type Output = Vec<MapRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<MapRow> {
        let states = resample_states(model, self.experiment, 0, device);
        let found = plane(&states.states(self.layer, 0));
        let concepts = self.experiment.task.concepts();
        let row = |([pc1, pc2], label): ([f64; 2], &usize)| MapRow {
            step: self.step,
            layer: self.layer,
            token: states.tokens[0].to_string(),
            concept: concepts[*label].name.clone(),
            pc1,
            pc2,
            explained_1: found.explained[0],
            explained_2: found.explained[1],
        };
        found.points.iter().copied().zip(&states.labels).map(row).collect()
    }
}
