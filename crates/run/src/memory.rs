//! How much memory a run takes, told beforehand: a process that runs out of it is killed, and nobody says why.
//!
//! Counted is what lives at the moment where most does. How many copies of each thing those are was measured on shapes
//! that are made of one thing before all; `benches/memory.py` compares the estimates with the peaks of a grid of shapes.

use model::{Device, Free, Kind};
use probe::KEPT_PRODUCTS;

use crate::{ConfigError, Experiment};

/// Bytes of a program that has its threads and does nothing yet.
const PROGRAM: f64 = 84.0 * 1024.0 * 1024.0;

const F32: f64 = 4.0;
const F64: f64 = 8.0;

/// How many numbers one way of computing a block has at once.
struct Copies {
    /// Of every parameter.
    parameters: f64,
    /// Of every free parameter, for each shard.
    by_shard: f64,
    /// Of every parameter, for each shard in work.
    in_work: f64,
    /// Of each token's state in a block: all blocks but the last, and the last with what is at work on one.
    states: [f64; 2],
    /// Of each weight of attention, likewise.
    attention: [f64; 2],
    /// Queries of a sequence up to which the weights of attention are kept.
    kept_queries: f64,
    /// Of a square of the width for each prompt in work.
    squares: f64,
    /// Of the attention weights of one head over the sequences of a chunk, for a strip of queries.
    chunk: f64,
}

/// Blocks in one piece.
const FUSED: Copies = Copies {
    parameters: 2.1,
    by_shard: 1.15,
    in_work: 0.6,
    states: [14.5, 12.5],
    attention: [1.05, 0.9],
    kept_queries: STRIP,
    squares: 0.0,
    chunk: 1.0,
};

/// Blocks of burn's operations, which compute the gradient of a weight for each prompt before they add them up.
const ORDINARY: Copies = Copies {
    parameters: 1.0,
    by_shard: 1.0,
    in_work: 0.0,
    states: [29.0, 18.0],
    attention: [3.2, 11.0],
    kept_queries: f64::INFINITY,
    squares: 13.5,
    chunk: 0.0,
};

/// Layers of an LSTM, of burn's operations on every device. Their weights are put side by side, and every token has a gradient
/// of them.
const RECURRENT: Copies = Copies {
    parameters: 5.2,
    by_shard: 0.95,
    in_work: 2.0,
    states: [15.5, 15.5],
    attention: [0.0, 0.0],
    kept_queries: 0.0,
    squares: 0.0,
    chunk: 0.0,
};

/// Moments that Adam keeps of every free parameter.
const MOMENTS: f64 = 2.0;

/// Batches of prompts: one in work, two that wait, and one that is drawn.
const BATCHES: f64 = 4.0;

/// Tokens of a chunk, and the fewest sequences, in a block in one piece.
const CHUNK: [usize; 2] = [512, 16];

/// Queries of a strip of attention, likewise.
const STRIP: f64 = 128.0;

/// Prompts that go through the model together when it is measured.
const MEASURED: f64 = 64.0;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Steps of training, and nothing else.
    Steps,
    /// To train, and to measure at checkpoints.
    Training,
    /// To measure a checkpoint.
    Measuring,
}

impl Experiment {
    /// Errors if there is not enough memory on `device` for so many runs at the same time, with so many `threads` each.
    ///
    /// # Errors
    /// Names what is needed, what there is, and what would fit.
    pub fn check_memory(&self, work: Work, device: Device, threads: usize, runs: usize) -> Result<(), ConfigError> {
        let at_once = |experiment: &Self| runs as f64 * experiment.bytes_for(work, device, threads);
        // Measuring is done by the host wherever the model is.
        let place = if work == Work::Measuring { Device::Flex } else { device };
        let Some(most) = place.memory().map(|most| most as f64) else { return Ok(()) };
        let needed = at_once(self);
        if needed <= most {
            return Ok(());
        }
        let fits = |smaller: &Self| at_once(smaller) <= most;
        Err(ConfigError::OutOfRange {
            field: format!("the memory for {}", self.named_sizes(work)),
            range: format!("at most {:.1} GiB on {place}", gib(most)),
            value: format!("about {:.1} GiB; {}", gib(needed), self.what_fits(work, fits)),
        })
    }

    /// Bytes that are taken at once, where that is most. Of steps on a GPU it is the least that can be.
    pub fn bytes_for(&self, work: Work, device: Device, threads: usize) -> f64 {
        let parameters = F32 * self.architecture.parameters() as f64;
        match work {
            Work::Steps => self.bytes_of_steps(device, threads),
            // A checkpoint is copied before it is written.
            Work::Training if device.is_cpu() => {
                self.bytes_of_steps(device, threads) + 2.0 * parameters + self.bytes_of_probing(device, threads)
            }
            Work::Training => self.bytes_of_steps(device, threads),
            // A checkpoint is read with its moments, then decoded, and then becomes a model.
            Work::Measuring => PROGRAM + 5.0 * parameters + self.bytes_of_probing(device, threads),
        }
    }

    fn bytes_of_steps(&self, device: Device, threads: usize) -> f64 {
        let config = &self.config;
        let size = &self.architecture;
        let [d, layers, heads] = [size.d_model, size.n_layers, size.n_heads].map(|size| size as f64);
        let tokens = size.seq_len() - 1;
        let shards = if device.is_cpu() { config.train.shards } else { 1 };
        let prompts = config.train.batch_size.div_ceil(shards);
        let in_work = threads.min(shards) as f64;
        let rows = (prompts * tokens) as f64;
        let (all, free) = (size.parameters() as f64, size.free_parameters(config.free()) as f64);
        if !device.is_cpu() {
            // Weights, gradients and moments, and what all blocks but two keep.
            return F32 * (all + 3.0 * free + (layers - 2.0).max(0.0) * rows * 9.0 * d);
        }
        let copies = match (size.kind, device) {
            (Kind::Lstm, _) => RECURRENT,
            (Kind::Transformer, Device::NdArray) => ORDINARY,
            (Kind::Transformer, _) => FUSED,
        };
        let parameters =
            (copies.parameters + copies.in_work * in_work) * all + (MOMENTS + copies.by_shard * shards as f64) * free;
        // Keys that a query has room for: of the decoder behind a latent those of one pair.
        let keys = |layer: usize| if layer > size.encoder_layers() { 2 } else { tokens } as f64;
        // Kept weights of a head for each token, where so large a share of the tokens are queries.
        let weights =
            |layer: usize, share: f64| Some(share * keys(layer)).filter(|&n| n <= copies.kept_queries).unwrap_or(0.0);
        let kept = (self.first_kept()..size.n_layers)
            .map(|layer| copies.states[0] * d + copies.attention[0] * heads * weights(layer, 1.0))
            .sum::<f64>();
        let last = copies.states[1] * d + copies.attention[1] * heads * weights(size.n_layers, 0.5);
        let [chunk, side_by_side] = CHUNK;
        let sequences = (chunk / tokens.max(1)).max(1).next_multiple_of(side_by_side).min(prompts);
        let queries = if size.n_layers > 1 { tokens } else { size.n_points };
        // Beside the weights their gradients, where the weights are computed anew.
        let strip = (queries as f64).min(STRIP) * if queries as f64 > STRIP { 2.0 } else { 1.0 };
        let chunk = copies.chunk * (sequences * tokens) as f64 * strip;
        let shard = rows * (kept + last) + copies.squares * prompts as f64 * d * d + chunk;
        let batches = BATCHES * self.numbers_of_prompts(config.train.batch_size);
        PROGRAM + F32 * (parameters + in_work * shard + batches)
    }

    /// States of a resample at every layer and token, and what every thread needs at one of them: products of every two
    /// states, and the folds of the probes that are fitted; before that, what goes through the model.
    fn bytes_of_probing(&self, device: Device, threads: usize) -> f64 {
        let (study, size) = (&self.study, &self.architecture);
        let [d, layers, heads, tokens] =
            [size.d_model, size.n_layers, size.n_heads, size.seq_len()].map(|size| size as f64);
        let concepts = study.concepts().len();
        let n = (study.probe.prompts_per_concept * concepts) as f64;
        let states = F32 * (layers + 1.0) * study.tokens.len() as f64 * n * d;
        let products = if n <= KEPT_PRODUCTS as f64 || n < d { n } else { 0.0 };
        let probing = F64 * (1.3 * n * products + 0.5 * study.probe.folds as f64 * n * n.min(d));
        // In one piece, long sequences have no more than a strip of attention weights.
        let weights = if tokens <= STRIP || device == Device::NdArray { heads * tokens } else { STRIP };
        let reading = F32 * MEASURED * tokens * ((layers + 12.0) * d + weights);
        let held_out = study.eval.prompts_per_concept * concepts;
        let prompts = F32 * self.numbers_of_prompts(held_out) + 6.0 * F64 * (held_out * size.n_points) as f64;
        states + threads as f64 * probing.max(reading) + prompts
    }

    fn numbers_of_prompts(&self, prompts: usize) -> f64 {
        (prompts * self.architecture.n_points * (self.architecture.d_x + 1)) as f64
    }

    /// The first block whose gradient needs what it keeps.
    fn first_kept(&self) -> usize {
        match self.config.free() {
            Free::All | Free::First(_) => 1,
            Free::Last(n) => self.architecture.n_layers - n + 1,
            Free::ReadOut => self.architecture.n_layers,
        }
    }

    fn named_sizes(&self, work: Work) -> String {
        let (config, size) = (&self.config, &self.architecture);
        let model = format!("model.d_model = {}, model.n_layers = {}", size.d_model, size.n_layers);
        match work {
            Work::Steps => {
                format!("{model}, task.n_points = {} and train.batch_size = {}", size.n_points, config.train.batch_size)
            }
            Work::Training => format!(
                "{model}, task.n_points = {}, train.batch_size = {} and probe.prompts_per_concept = {}",
                size.n_points, config.train.batch_size, config.probe.prompts_per_concept
            ),
            Work::Measuring => format!("{model} and probe.prompts_per_concept = {}", config.probe.prompts_per_concept),
        }
    }

    /// What is asked for with one size halved until it `fits`.
    fn what_fits(&self, work: Work, fits: impl Fn(&Self) -> bool) -> String {
        let batch = |experiment: &mut Self| {
            let train = &mut experiment.config.train;
            train.batch_size = (train.batch_size / 2).max(1);
            train.shards = train.shards.min(train.batch_size);
            format!("train.batch_size = {}", train.batch_size)
        };
        let states = |experiment: &mut Self| {
            let probe = &mut experiment.study.probe;
            probe.prompts_per_concept = (probe.prompts_per_concept / 2).max(2);
            format!("probe.prompts_per_concept = {}", probe.prompts_per_concept)
        };
        let ways: &[&dyn Fn(&mut Self) -> String] =
            if work == Work::Measuring { &[&states] } else { &[&batch, &states] };
        let found = ways.iter().find_map(|halve| {
            let mut smaller = self.clone();
            (0..u16::BITS).find_map(|_| {
                let said = halve(&mut smaller);
                fits(&smaller).then_some(said)
            })
        });
        found.map_or("a smaller model would fit".to_owned(), |said| format!("{said} would fit"))
    }
}

fn gib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 30)
}
