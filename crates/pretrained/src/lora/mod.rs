//! Low-rank adapters (LoRA) beside the maps of a pretrained model: trained here, kept in PEFT's format, measured like
//! the model itself.

mod adapter;
mod checkpoint;
mod config;
mod finetune;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod golden_tests;
mod loss;
mod merged;
mod peft;
mod resident;
mod tuner;
mod tuning;

pub use adapter::{AdapterConfig, Adapters, Free};
pub(crate) use checkpoint::{FILE as CHECKPOINT, TunedWith, TuningState};
pub use config::FinetuneConfig;
pub use finetune::{Finetune, Progress, TuningLoss, bench_steps, finetune};
pub use merged::Merged;
pub use resident::Example;
