//! A folder with a model, as Hugging Face writes it: `config.json`, `tokenizer.json`, `*.safetensors`.

mod config;
mod family;
mod json;
mod positioned;
mod tensors;

use std::path::{Path, PathBuf};

pub use config::{Biases, DecoderConfig, Norm, Placement, QueryKeyNorm, Rotation, Scaling};
pub use family::Family;
pub(crate) use family::{Expected, Part};
pub(crate) use json::Settings;
pub use tensors::Tensors;

use crate::PretrainedError;
use crate::tokens::TextTokens;

/// A folder with a model: all that it says, but for the weights, which are read when they are needed.
#[derive(Debug)]
pub struct ModelFolder {
    /// Where it is.
    pub path: PathBuf,
    /// What the model consists of.
    pub config: DecoderConfig,
    /// The weights, on disk.
    pub tensors: Tensors,
    /// How text becomes tokens.
    pub tokens: TextTokens,
}

impl ModelFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// When a file is missing, damaged, of an unknown architecture or of another model than the rest.
    pub fn open(path: &Path) -> Result<Self, PretrainedError> {
        if !path.is_dir() {
            return Err(PretrainedError::file(
                path,
                "it must be a folder with config.json, tokenizer.json and *.safetensors",
            ));
        }
        let file = path.join("config.json");
        if !file.is_file() {
            return Err(PretrainedError::file(path, "there must be a config.json in it"));
        }
        let config = DecoderConfig::read(&file)?;
        let tensors = Tensors::open(path)?;
        tensors.check(path, &config)?;
        let tokens = TextTokens::read(&path.join("tokenizer.json"), &config)?;
        Ok(Self { path: path.to_owned(), config, tensors, tokens })
    }

    /// Whether a model has this file for a part of its own, in its folder.
    pub(crate) fn has_part(file: &Path) -> bool {
        let name = file.file_name().unwrap_or_default();
        name == "config.json" || name == "tokenizer.json" || file.extension().is_some_and(|kind| kind == "safetensors")
    }
}
