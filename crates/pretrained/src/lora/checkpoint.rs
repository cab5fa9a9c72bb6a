//! All that tuning needs to go on, in one file that is there whole or not at all.

use std::collections::HashMap;
use std::path::Path;

use record::write_whole;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::FinetuneConfig;
use super::adapter::Adapters;
use super::peft::to_bytes;
use crate::PretrainedError;
use crate::folder::{DecoderConfig, ModelFolder};

/// Name of the checkpoint's file.
pub(crate) const FILE: &str = "checkpoint.safetensors";
/// Under what name the file says how it was made.
const MADE: &str = "tuning";
/// What stands before the names of Adam's moments.
const PREFIXES: [&str; 3] = ["", "first.", "second."];

/// Adapters and Adam's moments behind so many steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TuningState {
    pub(crate) adapters: Adapters,
    pub(crate) first: Adapters,
    pub(crate) second: Adapters,
    pub(crate) step: usize,
}

/// What a checkpoint was made with; tuning goes on from it only with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TunedWith {
    pub(crate) base: String,
    pub(crate) seed: u64,
    pub(crate) finetune: FinetuneConfig,
}

impl TunedWith {
    /// Of `model` as it lies in its folder.
    pub(crate) fn of(model: &ModelFolder, seed: u64, finetune: &FinetuneConfig) -> Self {
        Self { base: model.path.display().to_string(), seed, finetune: finetune.clone() }
    }
}

#[derive(Serialize, Deserialize)]
struct Made {
    step: usize,
    with: TunedWith,
}

impl TuningState {
    /// Before the first step.
    pub(crate) fn new(adapters: Adapters) -> Self {
        let mut nothing = adapters.clone();
        for factors in &mut nothing.factors {
            factors.down.fill(0.0);
            factors.up.fill(0.0);
        }
        Self { adapters, first: nothing.clone(), second: nothing, step: 0 }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn write(&self, path: &Path, with: &TunedWith) -> Result<(), PretrainedError> {
        let made = Made { step: self.step, with: with.clone() };
        let made = serde_json::to_string(&made).expect("settings are numbers and texts");
        let all = [&self.adapters, &self.first, &self.second];
        let tensors = all.iter().zip(PREFIXES).flat_map(|(adapters, prefix)| {
            adapters.tensors().into_iter().map(move |(name, shape, values)| (format!("{prefix}{name}"), shape, values))
        });
        let bytes = to_bytes(&tensors.collect::<Vec<_>>(), HashMap::from([(MADE.to_owned(), made)]));
        Ok(write_whole(path, &bytes)?)
    }

    /// Reads it; none where there is none.
    ///
    /// # Errors
    /// When it is damaged, or was made with something else than `with`.
    pub(crate) fn read(path: &Path, with: &TunedWith, model: &DecoderConfig) -> Result<Option<Self>, PretrainedError> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(path).map_err(|error| PretrainedError::io("read", path, error))?;
        let damaged =
            |reason: String| PretrainedError::file(path, format!("it must be a whole checkpoint, but {reason}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let made = header.metadata().as_ref().and_then(|all| all.get(MADE));
        let made = made.ok_or_else(|| damaged("does not say how it was made".to_owned()))?;
        let made: Made = serde_json::from_str(made).map_err(|error| damaged(error.to_string()))?;
        if made.with != *with {
            let text = |with: &TunedWith| serde_json::to_string(with).expect("settings are numbers and texts");
            let field = format!("{}: what tuning goes on with", path.display());
            return Err(PretrainedError::out_of_range(field, text(&made.with), text(with)));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let config = with.finetune.adapters(model)?;
        let expected = Adapters::expected(&config, model);
        let read = |prefix: &str| {
            let values = expected.iter().map(|expected| {
                let name = format!("{prefix}{}", expected.name);
                let tensor = tensors.tensor(&name).map_err(|error| damaged(error.to_string()))?;
                let values: Vec<f32> =
                    tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                if tensor.shape() != expected.shape || values.len() != expected.shape.iter().product::<usize>() {
                    return Err(damaged(format!("{name} has another shape than its map")));
                }
                Ok(values)
            });
            let values = values.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, PretrainedError>(Adapters::from_values(config.clone(), with.base.clone(), model, &values))
        };
        let [adapters, first, second] = PREFIXES.map(read);
        Ok(Some(Self { adapters: adapters?, first: first?, second: second?, step: made.step }))
    }
}
