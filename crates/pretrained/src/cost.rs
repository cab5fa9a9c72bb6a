//! What a pass will take, said before it begins.

use std::fmt;
use std::time::Duration;

use kernels::{Device, products_per_second};
use terminal::clock;

use crate::{DecoderConfig, PretrainedError};

/// Share of the rate of products at which a pass runs: the rest of the time is spent between them.
const SHARE: f64 = 0.7;

/// What a pass will take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    operations: f64,
    rate: f64,
    bytes: u64,
}

impl Cost {
    /// Of a pass of so many tokens, by the rate of this machine's processor.
    pub(crate) fn of(config: &DecoderConfig, tokens: usize) -> Self {
        // Wider products have the same rate, and what they are timed on grows with the square.
        const WIDEST: usize = 4096;
        // A multiplication and an addition for every weight.
        let operations = 2.0 * (config.n_layers * config.parameters_of_block()) as f64 * tokens as f64;
        Self {
            operations,
            rate: SHARE * products_per_second(config.d_model.min(WIDEST)),
            bytes: memory(config, tokens),
        }
    }

    /// The same so many times over, one behind the other.
    pub(crate) fn times(self, times: f64) -> Self {
        Self { operations: self.operations * times, ..self }
    }

    /// The same with what is kept beside it, in numbers of f32.
    pub(crate) fn keeping(self, numbers: usize) -> Self {
        Self { bytes: self.bytes + 4 * numbers as u64, ..self }
    }

    pub(crate) fn seconds(self) -> f64 {
        self.operations / self.rate
    }

    pub(crate) fn bytes(self) -> u64 {
        self.bytes
    }

    /// Errors if there is not so much memory.
    pub(crate) fn check_memory(self, device: Device) -> Result<(), PretrainedError> {
        match device.memory() {
            Some(most) if self.bytes > most => Err(PretrainedError::out_of_range(
                "the memory for eval.prompts_per_concept, probe.prompts_per_concept and probe.resamples",
                format!("at most {:.1} GB on {device}", most as f64 / 1e9),
                format!("about {:.1} GB; half of the prompts take about half of it", self.bytes as f64 / 1e9),
            )),
            _ => Ok(()),
        }
    }
}

/// The residual stream of every token, one block in f32, and what every thread works with.
fn memory(config: &DecoderConfig, tokens: usize) -> u64 {
    let work =
        rayon::current_num_threads() * crate::passes::ROWS_ON_CPU * (4 * config.d_feed_forward + 4 * config.d_model);
    4 * (tokens * config.d_model + config.parameters_of_block() + work) as u64
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Duration::from_secs_f64(self.seconds().ceil());
        write!(f, "{} and {:.1} GB of memory", clock(time), self.bytes as f64 / 1e9)
    }
}
