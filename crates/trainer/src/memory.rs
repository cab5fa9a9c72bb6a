//! Whether a model can fit at all: asked before anything is made, since a process that runs out of memory is killed.

use anyhow::anyhow;
use model::{Device, Free};
use run::Experiment;
use terminal::Failure;

use crate::Parallelism;

/// Errors if training needs more memory than `device` has. What frozen parameters save is not counted, so with some
/// there is no answer.
pub(crate) fn check(experiment: &Experiment, device: Device) -> Result<(), Failure> {
    let config = &experiment.config;
    if config.free() != Free::All {
        return Ok(());
    }
    let at_once = (config.train.batch_size / Parallelism::on(device, experiment).shards).max(1);
    let least = experiment.architecture.training_bytes(at_once);
    match device.memory() {
        Some(most) if least > most => Err(Failure::Request(anyhow!(
            "the memory for model.d_model = {}, model.n_layers = {} and train.batch_size = {} must be at most {:.1} GiB \
             on {device}, but is at least {:.1} GiB",
            config.model.d_model,
            config.model.n_layers,
            config.train.batch_size,
            gib(most),
            gib(least),
        ))),
        _ => Ok(()),
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
