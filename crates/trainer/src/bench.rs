//! Times the training step.

use std::time::Instant;

use burn::tensor::backend::Backend;
use data::{Prompt, Purpose, Sampler, Stream};
use model::{FusedBackend, TrainingBackend, Transformer, products_per_second};
use run::Experiment;
use serde::Serialize;

use crate::{Adam, gradients};

/// Step times and what they mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchResult {
    /// Name of the configuration.
    pub name: String,
    /// The backend, by burn's name for it.
    pub device: String,
    /// Threads at hand.
    pub threads: usize,
    /// Steps counted, after the warm-up.
    pub steps: usize,
    /// Median time of a step: sampling, gradients and update, in milliseconds.
    pub median_ms: f64,
    /// Shortest step in milliseconds.
    pub min_ms: f64,
    /// Longest step in milliseconds.
    pub max_ms: f64,
    /// Tokens a second at the median.
    pub tokens_per_second: f64,
    /// Arithmetic of the matrix products of a step, in 10⁹ operations.
    pub gflop_per_step: f64,
    /// `gflop_per_step` over the median time, in 10⁹ operations a second.
    pub gflop_per_second: f64,
    /// `gflop_per_second` over the rate of the machine's products at this width, measured between the steps; on a CPU.
    pub share_of_products: Option<f64>,
    /// Time to draw a batch over the median time of a step.
    pub sampling_share: f64,
    /// The most memory the process has had at once, in MiB; on Linux.
    pub peak_memory_mib: Option<f64>,
}

/// Steps from one measurement of the machine's products to the next: a machine may slow down, and then for both.
const PRODUCTS_EVERY: usize = 4;

/// Times `counted` training steps of a new model after `warm_up` uncounted ones.
pub fn bench<B: TrainingBackend>(
    experiment: &Experiment,
    shards: usize,
    device: &B::Device,
    [warm_up, counted]: [usize; 2],
) -> BenchResult {
    let config = &experiment.config;
    let weights = config.model.init(&experiment.architecture, &mut Stream::new(config.seed, Purpose::Init).rng(0));
    let on_cpu = <B::InnerBackend as FusedBackend>::FUSED;
    let mut model = Transformer::<B>::new(&experiment.architecture, &weights, device)
        .expect("freshly drawn weights have the architecture's shapes");
    let mut adam = Adam::new(&config.train);
    let sampler = Sampler::new(experiment.task.clone(), Stream::new(config.seed, Purpose::Train));
    let batch = config.train.batch_size as u64;
    let (mut times, mut sampling, mut products) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..warm_up + counted {
        let started = Instant::now();
        let first = step as u64 * batch;
        let prompts: Vec<Prompt> = (first..first + batch).map(|index| sampler.prompt(index)).collect();
        sampling.push(started.elapsed().as_secs_f64());
        let found = gradients(&model, &prompts, shards, device);
        model = adam.step(model, found.parameters, None, config.train.learning_rate, step);
        // Reading the loss waits for everything the step has queued.
        let _ = found.loss.into_data();
        times.push(started.elapsed().as_secs_f64());
        if on_cpu && step.is_multiple_of(PRODUCTS_EVERY) {
            products.push(products_per_second(config.model.d_model));
        }
    }
    let name = <B::InnerBackend as Backend>::name(device);
    summary(experiment, name, times.split_off(warm_up), sampling.split_off(warm_up), products)
}

fn summary(
    experiment: &Experiment,
    device: String,
    times: Vec<f64>,
    sampling: Vec<f64>,
    products: Vec<f64>,
) -> BenchResult {
    let batch_size = experiment.config.train.batch_size;
    let [min, median, max] = spread(times.clone()).expect("at least one step is counted");
    let gflop = experiment.architecture.step_flops(batch_size) as f64 / 1e9;
    let rate = spread(products).map(|[_, median, _]| median / 1e9);
    BenchResult {
        name: experiment.config.name.clone(),
        device,
        threads: rayon::current_num_threads(),
        steps: times.len(),
        median_ms: median * 1e3,
        min_ms: min * 1e3,
        max_ms: max * 1e3,
        tokens_per_second: (batch_size * experiment.architecture.seq_len()) as f64 / median,
        gflop_per_step: gflop,
        gflop_per_second: gflop / median,
        share_of_products: rate.map(|rate| gflop / median / rate),
        sampling_share: spread(sampling).map_or(0.0, |[_, sampling, _]| sampling / median),
        peak_memory_mib: peak_memory_mib(),
    }
}

/// The least, median and greatest of some values.
fn spread(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    Some([*values.first()?, *values.get(values.len() / 2)?, *values.last()?])
}

fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}
