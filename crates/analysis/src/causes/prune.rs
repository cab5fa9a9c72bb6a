//! Head pruning: one attention head at a time is switched off.

use model::{Device, FusedBackend, Layer, Transformer, without_head};
use run::{Experiment, PruningRow, RunDir, RunError};

use crate::causes::{Measure, less};
use crate::stages::{OnModel, with_model};

/// Errors of a model without each of its heads, and what they add to the error of the whole model; `progress` is told
/// each layer before its heads are switched off.
///
/// # Source
/// Han et al., arXiv 2412.12276, with 100 prompts of every concept; here they are the held-out prompts.
pub fn prune<B: FusedBackend>(
    model: &Transformer<B>,
    experiment: &Experiment,
    step: usize,
    device: &B::Device,
    progress: &dyn Fn(usize),
) -> Vec<PruningRow> {
    let (measure, architecture) = (Measure::new(experiment), &experiment.architecture);
    let (weights, plain) = (model.weights(), measure.errors(model, device));
    let mut rows = Vec::new();
    for layer in 1..=architecture.n_layers {
        progress(layer);
        for head in 1..=architecture.n_heads {
            let pruned = without_head(architecture, &weights, Layer(layer), head);
            let pruned = Transformer::<B>::new(architecture, &pruned, device).expect("only values were changed");
            let errors = measure.errors(&pruned, device);
            let changes = measure.by_concept(&less(&errors, &plain));
            for ((concept, error), (_, change)) in measure.by_concept(&errors).into_iter().zip(changes) {
                let (error, change, lo, hi) = (error.mean, change.mean, change.lo, change.hi);
                rows.push(PruningRow { step, layer, head, concept, error, change, lo, hi, n: measure.n() });
            }
        }
    }
    rows
}

/// Writes the table of pruning anew, for the checkpoint at `step`; `progress` is told each layer.
///
/// # Errors
/// When the checkpoint cannot be read or the table not be written.
pub fn write_pruning(
    run: &RunDir,
    experiment: &Experiment,
    step: usize,
    device: Device,
    progress: &dyn Fn(usize),
) -> Result<(), RunError> {
    Ok(run.table().replace(&with_model(run, experiment, step, device, Prune { experiment, step, progress })?)?)
}

struct Prune<'a> {
    experiment: &'a Experiment,
    step: usize,
    progress: &'a dyn Fn(usize),
}

impl OnModel for Prune<'_> {
    type Output = Vec<PruningRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<PruningRow> {
        prune(model, self.experiment, self.step, device, self.progress)
    }
}
