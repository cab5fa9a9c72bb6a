//! One checkpoint: a folder that is there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use model::{Architecture, Weights};
use record::{RecordError, remove_file, write_through};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checks::hex;

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

/// Adam's state: one tensor for every parameter in each.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Decaying mean of the gradients.
    pub first: Weights,
    /// Decaying mean of the squared gradients.
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
    /// Writes every file to `folder`: under another name, flushed to the disk, renamed. What could not be written as a whole
    /// is removed.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), RecordError> {
        let _writing = record::writing();
        let partial = folder.with_extension("partial");
        for before in [&partial, folder].into_iter().filter(|before| before.exists()) {
            fs::remove_dir_all(before).map_err(|error| RecordError::io("remove", before, error))?;
        }
        let written = self.write(&partial).and_then(|()| rename(&partial, folder));
        written.inspect_err(|_| drop(fs::remove_dir_all(&partial)))
    }

    /// Writes every file to `partial`.
    fn write(&self, partial: &Path) -> Result<(), RecordError> {
        fs::create_dir_all(partial).map_err(|error| RecordError::io("create", partial, error))?;
        let mut sha256 = BTreeMap::new();
        for (name, weights) in self.files() {
            let bytes = model::encode(&self.architecture, weights);
            sha256.insert(name.to_owned(), hex(&Sha256::digest(&bytes)));
            write(&partial.join(name), &bytes)?;
        }
        let meta = toml::to_string(&Meta { version: VERSION, step: self.step, sha256 });
        write(&partial.join(META), meta.expect("strings and integers are TOML").as_bytes())
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

/// Gives a folder another name, down to the disk.
pub(crate) fn rename(folder: &Path, name: &Path) -> Result<(), RecordError> {
    fs::rename(folder, name).map_err(|error| RecordError::io("rename", folder, error))?;
    let parent = name.parent().unwrap_or(name);
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| RecordError::io("flush", parent, error))
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
            return Err(RecordError::malformed(&path, format!("its SHA-256 must be {expected}, but is {found}")));
        }
        model::decode(&bytes).map_err(|error| RecordError::malformed(&path, error))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    write_through(path, bytes).map_err(|error| RecordError::io("write", path, error))
}
