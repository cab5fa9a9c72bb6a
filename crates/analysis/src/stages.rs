//! What can be computed again from the checkpoints of a run, table by table.

use data::Token;
use model::{Device, FusedBackend, OnBackend, Transformer};
use run::{AlgorithmRow, BaselineRow, BestLayerRow, Experiment, ProbeKind, RunDir, RunError};

use crate::{Algorithms, HeldOut, decodability};

/// Writes the table of the closed-form predictors' errors.
///
/// # Errors
/// When the disk fails.
pub fn write_baselines(run: &RunDir, experiment: &Experiment) -> Result<(), RunError> {
    Ok(run.table::<BaselineRow>().replace(&HeldOut::new(experiment).baselines())?)
}

/// Writes the decodability tables anew, from every checkpoint; `progress` is told each step before it is probed.
///
/// # Errors
/// When the disk fails or a checkpoint is damaged.
pub fn write_decodability(
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let (mut cd, mut best) = (Vec::new(), Vec::new());
    for step in run.scheduled_steps(experiment)? {
        progress(step);
        let tables = with_model(run, experiment, step, device, Decode { experiment, step })?;
        cd.extend(tables.cd);
        best.extend(tables.best);
    }
    run.table().replace(&cd)?;
    Ok(run.table().replace(&best)?)
}

/// Writes the distances of the model from every closed-form predictor, at every checkpoint; `progress` is told each
/// step before it is measured.
///
/// # Errors
/// When the disk fails or a checkpoint is damaged.
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
        rows.extend(with_model(run, experiment, step, device, Compare { algorithms: &algorithms, step })?);
    }
    Ok(run.table().replace(&rows)?)
}

/// At most `most` of the values, evenly spread, with the first and the last among them.
pub(crate) fn spread(values: &[usize], most: usize) -> Vec<usize> {
    let chosen = most.min(values.len());
    (0..chosen).map(|index| values[index * (values.len() - 1) / (chosen - 1).max(1)]).collect()
}

/// The layer at which CD is best at the end of training, chosen on one half of the resamples; the last one where it was
/// not measured.
pub(crate) fn best_layer(run: &RunDir, experiment: &Experiment, token: Token) -> Result<usize, RunError> {
    let token = token.to_string();
    let rows = run.table::<BestLayerRow>().read()?;
    let cd = |row: &&BestLayerRow| row.probe == ProbeKind::CD.name() && row.selection == "held_out";
    let last = rows.iter().filter(cd).rfind(|row| row.token == token);
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
    experiment: &Experiment,
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
    Ok(device.run(Load(run.checkpoint(experiment, step)?, work)))
}

/// Decodability of the checkpoint at `step`.
pub(crate) struct Decode<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) step: usize,
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
