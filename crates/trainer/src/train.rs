//! The loop.

use std::io;

use analysis::MeasureError;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use data::{Purpose, Stream};
use model::{Device, Kernels, Model, ModelError, Weights};
use run::{Checkpoint, Experiment, RunDir, RunError, TrainConfig};
use terminal::Stop;
use thiserror::Error;

use crate::batches::Batches;
use crate::checkpoints::{Checkpoints, Keeper};
use crate::{Observers, Optimizer, TrainingRow, gradients};

/// Steps whose losses may wait on the device before they are looked at.
const MOST_PENDING: usize = 256;

/// What goes on at the same time. Of the results only the order of sums depends on it, by the shards.
#[derive(Clone, Copy, Debug)]
pub struct Parallelism {
    /// Parts that a batch is split into: many small ones for the threads of a CPU, one for a GPU.
    pub shards: usize,
    /// Whether training goes on while a checkpoint is measured and saved.
    pub measures_beside: bool,
}

impl Parallelism {
    /// What suits `device`. Where a checkpoint may end training, that waits for what is measured there.
    pub fn on(device: Device, experiment: &Experiment) -> Self {
        let train = &experiment.config.train;
        match device.is_cpu() {
            true => Self { shards: train.shards, measures_beside: false },
            false => Self { shards: 1, measures_beside: train.until.is_none() },
        }
    }
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done, or as many as `train.until` asks for.
    Finished,
    /// Asked to stop; saved after this many steps.
    Interrupted(usize),
}

/// Why training could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The disk.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What was measured at a checkpoint.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The prompts of a step could not be made.
    #[error(transparent)]
    Task(#[from] data::TaskError),
    /// A checkpoint of another model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The last checkpoint lies behind the end of training.
    #[error("train.steps must be at least {last}, the step of the last checkpoint, but is {steps}")]
    BehindTheEnd {
        /// The step of the checkpoint.
        last: usize,
        /// The configured number of steps.
        steps: usize,
    },
    /// The last checkpoint has its weights only.
    #[error("training goes on from the last checkpoint, but that of step {step} has no optimizer state")]
    NoMoments {
        /// The step.
        step: usize,
    },
    /// The system has no room for a thread.
    #[error("could not start a thread beside those of --threads")]
    Thread(#[from] io::Error),
    /// The loss or its gradient is not finite any more.
    #[error(
        "{what} is not finite after step {step} (loss {loss}, gradient norm {gradient_norm}); \
         {kept}",
        what = if .loss.is_finite() { "the gradient norm" } else { "the loss" },
        kept = .last_good.map_or("no checkpoint is good".to_owned(), |step| format!("the last good checkpoint is {step}"))
    )]
    NonFinite {
        /// Steps taken.
        step: usize,
        /// The loss of the next batch.
        loss: f64,
        /// Its gradient's norm.
        gradient_norm: f64,
        /// The step of the last checkpoint, if there is one.
        last_good: Option<usize>,
    },
}

/// Trains `experiment` in `run` until it is done or `stop` is asked for, from the last checkpoint if there is one. Steps and
/// saving hold the program; measuring does not, for nothing is lost where it is ended then.
/// Parameters that the configuration freezes are never changed.
///
/// A batch is a function of its step, sums have a fixed order and the optimizer's state is saved in full, so a run
/// that was stopped anywhere and went on has the same weights and tables, to the bit, as one that was not.
///
/// # Errors
/// When the disk fails, training cannot go on from the last checkpoint, no thread can be started, or the loss or its
/// gradient is not finite, be it of the last weights; what was saved before has finite ones.
pub fn train<B: Kernels>(
    run: &RunDir,
    experiment: &Experiment,
    parallelism: Parallelism,
    device: &B::Device,
    observers: Observers<'_>,
    stop: &Stop,
) -> Result<Outcome, TrainError> {
    let config = &experiment.config.train;
    let Start { mut step, measured, mut model, mut optimizer } = start::<B>(run, experiment, &observers, device)?;
    let mut pending = Pending { first: step, last_good: measured, scalars: Vec::new(), read: None };
    let tables = observers.tables();
    let Observers { steps: mut watching, checkpoints: measuring } = observers;
    watching.iter_mut().for_each(|observer| observer.on_start(step));
    let keeper = Keeper { run, experiment, device: device.clone(), tables, observers: measuring, stop };
    std::thread::scope(|scope| {
        let mut checkpoints = match parallelism.measures_beside {
            true => Checkpoints::beside(scope, keeper)?,
            false => Checkpoints::Here(keeper),
        };
        // One more than are trained on, for a look at the last weights.
        let batches = Batches::new(experiment).ahead(scope, step..config.steps + 1)?;
        loop {
            let stopped = stop.is_asked();
            let mut working = Some(stop.hold());
            let prompts = batches.recv().expect("the sampling thread ends after the last step or an error")?;
            let found = gradients(&model, experiment.config.free(), &prompts, parallelism.shards, device);
            let factor = config.clip_norm.is_finite().then(|| found.clip_factor(config.clip_norm));
            pending.scalars.push([found.loss, found.norm]);
            let due = experiment.config.checkpoints.is_due(step, config.steps);
            if (due || stopped) && pending.last_good != Some(step) {
                // Weights are good, and saved, if a next step could be taken from them.
                pending.check()?;
                let checkpoint = checkpoint(experiment, step, &model, &optimizer);
                // The keeper holds while it saves. A program that is ended while it measures loses the steps since then.
                working.take();
                checkpoints = checkpoints.hand_over(checkpoint, due.then(|| model.clone()))?;
                pending.last_good = Some(step);
            }
            let finished = step == if due { run.end(&experiment.config)? } else { config.steps };
            if stopped || finished {
                checkpoints.finish()?;
                return Ok(if finished { Outcome::Finished } else { Outcome::Interrupted(step) });
            }
            working.get_or_insert_with(|| stop.hold());
            let learning_rate = config.learning_rate * config.schedule.factor(step);
            model = optimizer.step(model, found.parameters, factor, learning_rate, step);
            step += 1;
            let row = pending.row(step, learning_rate, config)?;
            watching.iter_mut().try_for_each(|observer| observer.on_step(step, row.as_ref()))?;
        }
    })
}

/// Where training goes on.
struct Start<B: Kernels> {
    step: usize,
    /// The last checkpoint that was measured.
    measured: Option<usize>,
    model: Model<B>,
    optimizer: Optimizer,
}

/// The last checkpoint, be it measured or not, or the model that the run starts from and a new optimizer. The rows of steps
/// behind it are dropped, and what was measured behind the last one that was measured.
fn start<B: Kernels>(
    run: &RunDir,
    experiment: &Experiment,
    observers: &Observers<'_>,
    device: &B::Device,
) -> Result<Start<B>, TrainError> {
    let (architecture, config) = (&experiment.architecture, &experiment.config);
    let model = |weights: &Weights| Model::<B>::new(architecture, weights, device);
    let measured = run.steps()?.last().copied();
    let last = match (run.unmeasured(experiment)?, measured) {
        (None, Some(step)) => Some(run.checkpoint(experiment, step)?),
        (unmeasured, _) => unmeasured,
    };
    let (step, model, optimizer) = match last {
        Some(Checkpoint { step, weights, moments, .. }) => {
            if step > config.train.steps {
                return Err(TrainError::BehindTheEnd { last: step, steps: config.train.steps });
            }
            let moments = moments.ok_or(TrainError::NoMoments { step })?;
            let model = model(&weights)?;
            let optimizer = Optimizer::restore(&config.train, &moments, &model, architecture, device)?;
            (Some(step), model, optimizer)
        }
        None => {
            let drawn = || config.model.init(architecture, &mut Stream::new(config.seed, Purpose::Init).rng(0));
            let weights = run.start(experiment)?.unwrap_or_else(drawn);
            let model = model(&weights)?;
            let optimizer = Optimizer::new(&config.train, &model, architecture);
            (None, model, optimizer)
        }
    };
    // Not before it is certain that training goes on and measures them again.
    let of_steps = observers.steps.iter().flat_map(|observer| observer.tables()).map(|table| (table, step));
    let of_checkpoints =
        observers.checkpoints.iter().flat_map(|observer| observer.tables()).map(|table| (table, measured));
    for (table, last) in of_steps.chain(of_checkpoints) {
        last.map_or_else(|| table.clear(), |step| table.truncate_after(step)).map_err(RunError::from)?;
    }
    Ok(Start { step: step.unwrap_or(0), measured, model, optimizer })
}

fn checkpoint<B: Kernels>(experiment: &Experiment, step: usize, model: &Model<B>, optimizer: &Optimizer) -> Checkpoint {
    let (weights, moments) = (model.weights(), Some(optimizer.moments(model)));
    Checkpoint { step, architecture: experiment.architecture, weights, moments }
}

/// Losses and gradient norms that are still on the device.
struct Pending<B: Backend> {
    /// Steps before the first of them.
    first: usize,
    /// Step of the last checkpoint.
    last_good: Option<usize>,
    scalars: Vec<[Tensor<B, 1>; 2]>,
    /// The last that were read.
    read: Option<[f64; 2]>,
}

impl<B: Backend> Pending<B> {
    /// Reads them all in one transfer; errors if one is not finite.
    fn check(&mut self) -> Result<(), TrainError> {
        if self.scalars.is_empty() {
            return Ok(());
        }
        let first = self.first;
        self.first += self.scalars.len();
        let all = Tensor::cat(self.scalars.drain(..).flatten().collect(), 0).into_data().convert::<f64>();
        let values: Vec<f64> = all.to_vec().expect("the data was just converted to f64");
        for (i, pair) in values.chunks_exact(2).enumerate() {
            if !pair.iter().all(|value| value.is_finite()) {
                let (step, loss, gradient_norm) = (first + i, pair[0], pair[1]);
                return Err(TrainError::NonFinite { step, loss, gradient_norm, last_good: self.last_good });
            }
        }
        self.read = values.last_chunk().copied();
        Ok(())
    }

    /// The row of `step`, when one is due; reads the device only then.
    fn row(&mut self, step: usize, rate: f64, config: &TrainConfig) -> Result<Option<TrainingRow>, TrainError> {
        let due = step.is_multiple_of(config.log_every) || step == config.steps;
        if !due && self.scalars.len() < MOST_PENDING {
            return Ok(None);
        }
        self.check()?;
        Ok(self.read.filter(|_| due).map(|[loss, gradient_norm]| TrainingRow {
            step,
            loss,
            gradient_norm,
            learning_rate: rate,
        }))
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;

    use super::*;

    #[test]
    fn what_is_not_finite_is_named() {
        for (values, what) in [([1.8, f32::INFINITY], "the gradient norm is"), ([f32::NAN; 2], "the loss is")] {
            let scalars = values.map(|value| Tensor::<NdArray, 1>::from_floats([value], &Default::default()));
            let mut pending = Pending { first: 4, last_good: Some(2), scalars: vec![scalars], read: None };
            let message = pending.check().unwrap_err().to_string();
            assert!(message.starts_with(what) && message.contains("after step 4"), "{message}");
        }
    }
}
