//! The tensors of a folder's safetensors files, read one at a time by their place in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use super::config::DecoderConfig;
use super::family::Expected;
use super::positioned::read_exact_at;
use crate::PretrainedError;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a folder. Nothing of them is in memory but where they are.
#[derive(Debug)]
pub struct Tensors {
    files: Vec<(PathBuf, File)>,
    places: BTreeMap<String, Place>,
}

/// Where a tensor is.
#[derive(Clone, Debug)]
struct Place {
    file: usize,
    start: u64,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl Place {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Tensors {
    /// Finds the tensors of `folder`, in one file or else in those of an index, as `transformers` does.
    ///
    /// # Errors
    /// When a file is missing, damaged or cut short, or a tensor of the index is not in its file.
    pub fn open(folder: &Path) -> Result<Self, PretrainedError> {
        let [single, index] = [SINGLE, INDEX].map(|name| folder.join(name));
        if single.is_file() {
            return Self::of_files(&[single]);
        }
        if !index.is_file() {
            let reason = format!("there must be a {SINGLE} or a {INDEX} in it");
            return Err(PretrainedError::file(folder, reason));
        }
        let weight_map = read_index(&index)?;
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort_unstable();
        names.dedup();
        if let Some(missing) = names.iter().find(|name| !folder.join(name).is_file()) {
            return Err(PretrainedError::file(
                &index,
                format!("it must name files beside it, but {missing} is not there"),
            ));
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let found = Self::of_files(&paths)?;
        for (tensor, file) in &weight_map {
            let place = found.places.get(tensor).filter(|place| found.files[place.file].0 == folder.join(file));
            if place.is_none() {
                return Err(PretrainedError::file(&index, format!("{tensor} must be in {file}, but is not there")));
            }
        }
        Ok(found)
    }

    /// Finds the tensors of one file.
    ///
    /// # Errors
    /// When it is missing, damaged or cut short.
    pub(crate) fn of_file(path: &Path) -> Result<Self, PretrainedError> {
        Self::of_files(&[path.to_owned()])
    }

    fn of_files(paths: &[PathBuf]) -> Result<Self, PretrainedError> {
        let mut found = Self { files: Vec::new(), places: BTreeMap::new() };
        for path in paths {
            let file = File::open(path).map_err(|error| PretrainedError::io("open", path, error))?;
            for (name, place) in places(path, &file, found.files.len())? {
                if found.places.insert(name.clone(), place).is_some() {
                    return Err(PretrainedError::file(path, format!("{name} must be in one file, but is in two")));
                }
            }
            found.files.push((path.clone(), file));
        }
        Ok(found)
    }

    /// Checks that the tensors are those of `config`.
    ///
    /// # Errors
    /// When one is missing, has another shape, or belongs to no part of the model.
    pub fn check(&self, folder: &Path, config: &DecoderConfig) -> Result<(), PretrainedError> {
        let surplus = self.without(folder, &config.tensors())?;
        match surplus.into_iter().find(|name| !config.is_no_weight(name)) {
            None => Ok(()),
            Some(name) => {
                let reason = format!("the tensor {name} belongs to no part of a {} model", config.family.name());
                Err(PretrainedError::file(folder, reason))
            }
        }
    }

    /// The names of all tensors but those that are expected.
    ///
    /// # Errors
    /// When one that is expected is missing, or is not as it must be.
    pub(crate) fn without(&self, place: &Path, expected: &[Expected]) -> Result<Vec<&str>, PretrainedError> {
        let mut surplus: BTreeSet<&str> = self.places.keys().map(String::as_str).collect();
        for expected in expected {
            let Some(found) = self.places.get(&expected.name) else {
                return Err(PretrainedError::file(place, format!("the tensor {} is missing", expected.name)));
            };
            let file = &self.files[found.file].0;
            if found.shape != expected.shape {
                let (name, right, found) = (&expected.name, &expected.shape, &found.shape);
                let reason = format!("the tensor {name} must have the shape {right:?}, but has {found:?}");
                return Err(PretrainedError::file(file, reason));
            }
            if !matches!(found.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                let reason = format!("the tensor {} must be F32, F16 or BF16, but is {:?}", expected.name, found.dtype);
                return Err(PretrainedError::file(file, reason));
            }
            surplus.remove(expected.name.as_str());
        }
        Ok(surplus.into_iter().collect())
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.places.values().map(|place| (place.len() * width(place.dtype)) as u64).sum()
    }

    /// How most of the numbers are stored.
    pub fn stored_as(&self) -> &'static str {
        let numbers = |dtype| self.places.values().filter(|place| place.dtype == dtype).map(Place::len).sum::<usize>();
        let known = [(Dtype::F32, "f32"), (Dtype::F16, "f16"), (Dtype::BF16, "bf16")];
        known.into_iter().max_by_key(|(dtype, _)| numbers(*dtype)).map_or("f32", |(_, name)| name)
    }

    /// A whole tensor, row-major, as f32.
    ///
    /// # Errors
    /// When the disk fails, or a number is not finite.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, PretrainedError> {
        let place = self.place(name);
        self.read_part(name, place, 0, place.len())
    }

    /// Some rows of a matrix behind each other, as f32.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn rows(&self, name: &str, rows: impl IntoIterator<Item = usize>) -> Result<Vec<f32>, PretrainedError> {
        let place = self.place(name);
        let columns = place.shape[1];
        let mut found = Vec::new();
        for row in rows {
            found.extend(self.read_part(name, place, row * columns, columns)?);
        }
        Ok(found)
    }

    /// Rows that lie behind each other.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn row_range(&self, name: &str, first: usize, count: usize) -> Result<Vec<f32>, PretrainedError> {
        let place = self.place(name);
        let columns = place.shape[1];
        self.read_part(name, place, first * columns, count * columns)
    }

    /// The place of a tensor that [`check`](Self::check) has seen.
    fn place(&self, name: &str) -> &Place {
        &self.places[name]
    }

    fn read_part(&self, name: &str, place: &Place, first: usize, count: usize) -> Result<Vec<f32>, PretrainedError> {
        /// Numbers that are read at a time, so that what is read and what it becomes are never both there as a whole.
        const PORTION: usize = 1 << 16;
        let (path, file) = &self.files[place.file];
        let size = width(place.dtype);
        let mut found = vec![0.0; count];
        let portion = |(number, to): (usize, &mut [f32])| {
            let mut bytes = vec![0; to.len() * size];
            let start = place.start + ((first + number * PORTION) * size) as u64;
            read_exact_at(file, &mut bytes, start).map_err(|error| PretrainedError::io("read", path, error))?;
            convert(place.dtype, &bytes, to);
            if to.iter().all(|value| value.is_finite()) {
                return Ok(());
            }
            Err(PretrainedError::file(path, format!("every number of {name} must be finite, but one is not")))
        };
        found.par_chunks_mut(PORTION).enumerate().try_for_each(portion)?;
        Ok(found)
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>, PretrainedError> {
    let text = std::fs::read(path).map_err(|error| PretrainedError::io("read", path, error))?;
    let refused =
        |reason: String| PretrainedError::file(path, format!("it must name a file for every tensor, but {reason}"));
    let index: Value = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    let map = index.get("weight_map").ok_or_else(|| refused("has no weight_map".to_owned()))?;
    serde_json::from_value(map.clone()).map_err(|error| refused(error.to_string()))
}

/// The tensors of a file, from its header.
fn places(path: &Path, file: &File, number: usize) -> Result<Vec<(String, Place)>, PretrainedError> {
    let io = |error| PretrainedError::io("read", path, error);
    let damaged =
        |reason: String| PretrainedError::file(path, format!("it must be a whole safetensors file, but {reason}"));
    let len = file.metadata().map_err(io)?.len();
    let mut size = [0; 8];
    if len < 8 {
        return Err(damaged(format!("has only {len} bytes")));
    }
    read_exact_at(file, &mut size, 0).map_err(io)?;
    let header = u64::from_le_bytes(size).saturating_add(8);
    if header > len {
        return Err(damaged("ends in its header".to_owned()));
    }
    let mut bytes = vec![0; header as usize - 8];
    read_exact_at(file, &mut bytes, 8).map_err(io)?;
    let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let end = header + metadata.data_len() as u64;
    if end != len {
        return Err(damaged(format!("has {len} bytes instead of {end}")));
    }
    let place = |(name, info): (String, &TensorInfo)| {
        let start = header + info.data_offsets.0 as u64;
        (name, Place { file: number, start, shape: info.shape.clone(), dtype: info.dtype })
    };
    Ok(metadata.tensors().into_iter().map(place).collect())
}

/// Bytes of a number.
fn width(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F32 => 4,
        _ => 2,
    }
}

fn convert(dtype: Dtype, bytes: &[u8], to: &mut [f32]) {
    match dtype {
        Dtype::BF16 => read(bytes, to, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Dtype::F16 => read(bytes, to, |bytes| f16::from_le_bytes(bytes).to_f32()),
        _ => read(bytes, to, f32::from_le_bytes),
    }
}

fn read<const N: usize>(bytes: &[u8], to: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    bytes.as_chunks().0.iter().zip(to).for_each(|(bytes, to)| *to = number(*bytes));
}
