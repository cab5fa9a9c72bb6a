//! Times the training step.

use std::panic::resume_unwind;
use std::time::Instant;
use std::{io, thread};

use data::{Purpose, Stream};
use model::{Free, Kernels, Model, products_per_second};
use rayon::ThreadPool;
use run::Experiment;
use serde::Serialize;

use crate::batches::Batches;
use crate::{Optimizer, TrainError, gradients};

/// Step times and what they mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchResult {
    /// Name of the configuration.
    pub name: String,
    /// The backend, by burn's name for it.
    pub device: String,
    /// Models that were trained side by side.
    pub jobs: usize,
    /// Threads at hand for each of them.
    pub threads: usize,
    /// Steps counted, after the warm-up, of all models together.
    pub steps: usize,
    /// Median time of a step, gradients and update, in milliseconds; the next batch is drawn meanwhile, as in training.
    pub median_ms: f64,
    /// Shortest step in milliseconds.
    pub min_ms: f64,
    /// Longest step in milliseconds.
    pub max_ms: f64,
    /// Tokens a second at the median, of all models together.
    pub tokens_per_second: f64,
    /// Arithmetic of the matrix products of a step, in 10⁹ operations.
    pub gflop_per_step: f64,
    /// `gflop_per_step` over the median time, in 10⁹ operations a second, of all models together.
    pub gflop_per_second: f64,
    /// `gflop_per_second` of one model over the rate of the machine's products at this width on that model's threads,
    /// measured between the steps; where those are the products that the steps are made of.
    pub share_of_products: Option<f64>,
    /// Time to draw a batch, by itself, over the median time of a step.
    pub sampling_share: f64,
    /// The most memory the process has had at once, in MiB; on Linux.
    pub peak_memory_mib: Option<f64>,
}

/// Steps from one measurement of the machine itself to the next: a machine may slow down, and then for all.
const REFERENCE_EVERY: usize = 4;

/// Which steps are timed, and how.
#[derive(Clone, Copy, Debug)]
pub struct BenchPlan {
    /// Steps that are not timed, first of all.
    pub warm_up: usize,
    /// Steps that are.
    pub counted: usize,
    /// Steps from one look at the clock to the next. Before it, all that was queued on the device is waited for.
    pub at_a_time: usize,
}

/// What was timed, each in seconds but for the products, which are in operations a second.
struct Times {
    steps: Vec<f64>,
    sampling: Vec<f64>,
    products: Vec<f64>,
}

/// Times training steps of new models, side by side, one on every pool of threads.
///
/// # Errors
/// When no thread can be started, or the task cannot make its prompts.
pub fn bench<B: Kernels>(
    experiment: &Experiment,
    shards: usize,
    device: &B::Device,
    plan: BenchPlan,
    pools: &[ThreadPool],
) -> Result<BenchResult, TrainError> {
    let time = |pool: &ThreadPool| pool.install(|| time_steps::<B>(experiment, shards, device, plan));
    let times = thread::scope(|scope| {
        let jobs = pools.iter().map(|pool| thread::Builder::new().spawn_scoped(scope, || time(pool)));
        let jobs = jobs.collect::<io::Result<Vec<_>>>()?;
        let times = jobs.into_iter().map(|job| job.join().unwrap_or_else(|panic| resume_unwind(panic)));
        times.collect::<Result<Vec<_>, TrainError>>()
    })?;
    Ok(summary(experiment, B::name(device), pools, &times))
}

fn time_steps<B: Kernels>(
    experiment: &Experiment,
    shards: usize,
    device: &B::Device,
    BenchPlan { warm_up, counted, at_a_time }: BenchPlan,
) -> Result<Times, TrainError> {
    let config = &experiment.config;
    let weights = config.model.init(&experiment.architecture, &mut Stream::new(config.seed, Purpose::Init).rng(0));
    let on_host = B::HOST_PRODUCTS;
    let mut model = Model::<B>::new(&experiment.architecture, &weights, device)
        .expect("freshly drawn weights have the architecture's shapes");
    let mut optimizer = Optimizer::new(&config.train, &model, &experiment.architecture);
    let again = Batches::new(experiment);
    let (mut steps, mut sampling, mut products) = (Vec::new(), Vec::new(), Vec::new());
    thread::scope(|scope| {
        let batches = Batches::new(experiment).ahead(scope, 0..warm_up + counted)?;
        let (mut started, mut unread) = (Instant::now(), 0);
        for step in 0..warm_up + counted {
            let prompts = batches.recv().expect("the sampling thread ends after the last step or an error");
            let found = gradients(&model, Free::All, &prompts?, shards, device);
            model = optimizer.step(model, found.parameters, None, config.train.learning_rate, step);
            unread += 1;
            if unread < at_a_time && ![warm_up, warm_up + counted].contains(&(step + 1)) {
                continue;
            }
            // Reading the loss waits for everything the steps have queued.
            let _ = found.loss.into_data();
            let time = started.elapsed().as_secs_f64() / unread as f64;
            if step >= warm_up {
                steps.extend(std::iter::repeat_n(time, unread));
            }
            if steps.len() >= REFERENCE_EVERY * sampling.len() {
                let drawing = Instant::now();
                again.draw(step)?;
                sampling.push(drawing.elapsed().as_secs_f64());
                products.extend(on_host.then(|| products_per_second(config.model.d_model)));
            }
            (started, unread) = (Instant::now(), 0);
        }
        Ok::<_, TrainError>(())
    })?;
    Ok(Times { steps, sampling, products })
}

fn summary(experiment: &Experiment, device: String, pools: &[ThreadPool], times: &[Times]) -> BenchResult {
    let all = |which: fn(&Times) -> &Vec<f64>| times.iter().flat_map(which).copied().collect::<Vec<_>>();
    let (batch_size, jobs, steps) = (experiment.config.train.batch_size, pools.len(), all(|times| &times.steps));
    let counted = steps.len();
    let [min, median, max] = spread(steps).expect("at least one step is counted");
    let gflop = experiment.architecture.step_flops(batch_size) as f64 / 1e9;
    let rate = spread(all(|times| &times.products)).map(|[_, median, _]| median / 1e9);
    BenchResult {
        name: experiment.config.name.clone(),
        device,
        jobs,
        threads: pools[0].current_num_threads(),
        steps: counted,
        median_ms: median * 1e3,
        min_ms: min * 1e3,
        max_ms: max * 1e3,
        tokens_per_second: (jobs * batch_size * experiment.architecture.seq_len()) as f64 / median,
        gflop_per_step: gflop,
        gflop_per_second: jobs as f64 * gflop / median,
        share_of_products: rate.map(|rate| gflop / median / rate),
        sampling_share: spread(all(|times| &times.sampling)).map_or(0.0, |[_, sampling, _]| sampling / median),
        peak_memory_mib: peak_memory_mib(),
    }
}

/// The least, median and greatest of some values.
fn spread(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let (least, greatest) = (*values.first()?, *values.last()?);
    Some([least, f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]), greatest])
}

fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}
