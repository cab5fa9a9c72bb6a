//! Pretrained language models from a folder of weights, measured like models of ours.

mod cli;
mod config;
mod cost;
mod decoder;
mod error;
mod folder;
#[cfg(test)]
mod golden_tests;
mod head;
mod model;
mod passes;
mod run_folder;
mod series;
mod subject;
mod tokens;

pub use cli::Command;
pub use config::{LmConfig, LmExperiment, PRESETS, Tuned};
pub use decoder::{DrawnAnew, WeightSource};
pub use error::PretrainedError;
pub use folder::{
    Biases, DecoderConfig, Family, ModelFolder, Norm, Placement, QueryKeyNorm, Rotation, Scaling, Tensors,
};
pub use model::LanguageModel;
pub use run_folder::LmRun;
pub use series::{Series, TextSubjects};
pub use subject::TextSubject;
pub use tokens::{Encoded, TextTokens};
