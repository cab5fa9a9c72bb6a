//! What tests of adapters begin with.

use std::path::{Path, PathBuf};

use super::{AdapterConfig, FinetuneConfig, Free};
use crate::ModelFolder;

/// A tiny model that `tests/pretrained/make.py` made.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pretrained/golden").join(name)
}

pub(crate) fn folder(name: &str) -> ModelFolder {
    ModelFolder::open(&golden(name)).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn config(targets: &[&str]) -> AdapterConfig {
    let targets = targets.iter().map(ToString::to_string).collect();
    AdapterConfig { rank: 4, alpha: 8.0, dropout: 0.0, targets, layers: vec![0, 1] }
}

pub(crate) fn finetune_config() -> FinetuneConfig {
    FinetuneConfig {
        rank: 4,
        alpha: 8.0,
        dropout: 0.1,
        targets: Vec::new(),
        free: Free::All,
        samples: 22,
        batch_size: 4,
        learning_rate: 1e-2,
        checkpoint_every: 2,
    }
}
