//! One checkpoint: a folder that is there whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use model::{Architecture, Weights};
use record::{RecordError, hex, remove_file, write_folder, write_through};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const VERSION: u32 = 1;
const META: &str = "meta.toml";
const WEIGHTS: &str = "model.safetensors";
const MOMENTS: [&str; 2] = ["moment_1.safetensors", "moment_2.safetensors"];

/// A model after some steps of training.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Optimizer steps taken.
    pub step: usize,
    /// Size of the model.
    pub architecture: Architecture,
    /// Its parameters.
    pub weights: Weights,
    /// What it takes to train on; older checkpoints have it no more.
    pub moments: Option<Moments>,
}

/// The optimizer's state: one tensor for every parameter in each.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Decaying mean of the gradients.
    pub first: Weights,
    /// Decaying mean of the squared gradients; zeros of what Muon moves.
    pub second: Weights,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    version: u32,
    step: usize,
    sha256: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Writes every file to `folder`, which must not be there yet.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), RecordError> {
        write_folder(folder, |folder| {
            let mut sha256 = BTreeMap::new();
            for (name, weights) in self.files() {
                let bytes = model::encode(&self.architecture, weights);
                sha256.insert(name.to_owned(), hex(&Sha256::digest(&bytes)));
                write_through(&folder.join(name), &bytes)?;
            }
            let meta = toml::to_string(&Meta { version: VERSION, step: self.step, sha256 });
            write_through(&folder.join(META), meta.expect("strings and integers are TOML").as_bytes())
        })
    }

    /// SHA-256 of its weights as [`model::encode`] writes them.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(model::encode(&self.architecture, &self.weights)))
    }

    /// Reads and verifies every file of the checkpoint at `step`.
    pub(crate) fn load(folder: &Path, step: usize) -> Result<Self, RecordError> {
        let meta = Meta::read(folder, step)?;
        let (architecture, weights) = meta.load(folder, WEIGHTS)?;
        let moments = match MOMENTS.iter().all(|name| folder.join(name).exists()) {
            false => None,
            true => {
                let [first, second] = MOMENTS.map(|name| meta.load(folder, name));
                let ((first_of, first), (second_of, second)) = (first?, second?);
                if first_of != architecture || second_of != architecture {
                    return Err(RecordError::malformed(folder, "its moments belong to another model"));
                }
                Some(Moments { first, second })
            }
        };
        Ok(Self { step, architecture, weights, moments })
    }

    fn files(&self) -> Vec<(&'static str, &Weights)> {
        let mut files = vec![(WEIGHTS, &self.weights)];
        if let Some(moments) = &self.moments {
            files.extend(MOMENTS.into_iter().zip([&moments.first, &moments.second]));
        }
        files
    }
}

/// Removes what it takes to train on, and keeps the weights.
pub(crate) fn drop_moments(folder: &Path) -> Result<(), RecordError> {
    MOMENTS.iter().try_for_each(|name| remove_file(&folder.join(name)))
}

impl Meta {
    fn read(folder: &Path, step: usize) -> Result<Self, RecordError> {
        let path = folder.join(META);
        let text = fs::read_to_string(&path).map_err(|error| RecordError::io("read", &path, error))?;
        let meta: Self = toml::from_str(&text).map_err(|error| RecordError::malformed(&path, error.message()))?;
        if meta.version > VERSION {
            return Err(RecordError::Newer { path, version: meta.version, known: VERSION });
        }
        if meta.version != VERSION {
            return Err(RecordError::malformed(&path, format!("version must be {VERSION}, but is {}", meta.version)));
        }
        if meta.step != step {
            return Err(RecordError::malformed(
                &path,
                format!("step must be {step} as in the folder's name, but is {}", meta.step),
            ));
        }
        Ok(meta)
    }

    fn load(&self, folder: &Path, name: &str) -> Result<(Architecture, Weights), RecordError> {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(|error| RecordError::io("read", &path, error))?;
        let (found, expected) = (hex(&Sha256::digest(&bytes)), self.sha256.get(name));
        if expected != Some(&found) {
            let expected = expected.map_or("absent", String::as_str);
            return Err(RecordError::malformed(
                &path,
                format!("its SHA-256 must be {expected} as {META} says, but is {found}"),
            ));
        }
        model::decode(&bytes).map_err(|error| RecordError::malformed(&path, error))
    }
}
