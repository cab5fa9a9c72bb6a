//! Pretrained language models from a folder of weights, measured like models of ours.

mod chunk;
mod cli;
mod config;
mod cost;
mod decoder;
mod error;
mod folder;
#[cfg(test)]
mod golden_tests;
mod head;
mod lora;
mod material;
mod model;
mod passes;
mod run_folder;
mod series;
mod subject;
#[cfg(test)]
mod subject_tests;
mod tokens;

pub use cli::Command;
pub use config::{LmConfig, LmExperiment, PRESETS, Tuned};
pub use decoder::{DrawnAnew, WeightSource};
pub use error::PretrainedError;
pub use folder::{
    Biases, DecoderConfig, Family, ModelFolder, Norm, Placement, QueryKeyNorm, Rotation, Scaling, Tensors,
};
pub use lora::{
    AdapterConfig, Adapters, Example, Finetune, FinetuneConfig, Free, Merged, Progress, TuningLoss, bench_steps,
    finetune,
};
pub use model::LanguageModel;
pub use run_folder::LmRun;
pub use series::{Series, TextSubjects};
pub use subject::TextSubject;
pub use tokens::{Encoded, TextTokens};
