//! Arrays out of NumPy's archives.

use std::fmt::Display;
use std::io::{Cursor, Read};

use npyz::{DType, Deserialize, NpyFile, Order, TypeChar};
use zip::ZipArchive;
use zip::result::ZipError;

type Bytes = Cursor<Vec<u8>>;

/// An `.npz` file, compressed or not.
pub(super) struct Archive(ZipArchive<Bytes>);

/// An array: its shape, and its values with the last axis the fastest.
#[derive(Debug)]
pub(super) struct Array<T> {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<T>,
}

/// Bytes that an array may take: what no laptop has, so that a file which promises more is damaged.
const MOST_BYTES: u64 = 1 << 36;

impl Archive {
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, String> {
        ZipArchive::new(Cursor::new(bytes)).map(Self).map_err(|error| format!("is no .npz archive: {error}"))
    }

    /// The array `name` of numbers with a point, as f32.
    pub(super) fn numbers(&mut self, name: &str) -> Result<Array<f32>, String> {
        let file = self.required(name)?;
        match kind(&file) {
            Some((TypeChar::Float, 4)) => values::<f32, _>(name, file, |value| value),
            Some((TypeChar::Float, 8)) => values::<f64, _>(name, file, |value| value as f32),
            _ => Err(must_be(name, "float32 or float64", &file)),
        }
    }

    /// The array `name` of whole numbers.
    pub(super) fn whole_numbers(&mut self, name: &str) -> Result<Array<i64>, String> {
        let file = self.required(name)?;
        match kind(&file) {
            Some((TypeChar::Int, 4)) => values::<i32, _>(name, file, i64::from),
            Some((TypeChar::Int, 8)) => values::<i64, _>(name, file, |value| value),
            Some((TypeChar::Uint, 1)) => values::<u8, _>(name, file, i64::from),
            _ => Err(must_be(name, "int32, int64 or uint8", &file)),
        }
    }

    /// The array `name` of text; none where the archive has none of that name.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Array<String>>, String> {
        match self.named(name)? {
            None => Ok(None),
            Some(file) if matches!(kind(&file), Some((TypeChar::UnicodeStr, _))) => {
                values::<String, _>(name, file, |value| value).map(Some)
            }
            Some(file) => Err(must_be(name, "text", &file)),
        }
    }

    fn required(&mut self, name: &str) -> Result<NpyFile<Bytes>, String> {
        self.named(name)?.ok_or_else(|| format!("has no array {name}"))
    }

    /// The array `name`, read to its end, where the archive has a checksum.
    fn named(&mut self, name: &str) -> Result<Option<NpyFile<Bytes>>, String> {
        let entry = match self.0.by_name(&format!("{name}.npy")) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(name, error)),
        };
        let mut bytes = Vec::new();
        entry.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|error| damaged(name, error))?;
        NpyFile::new(Cursor::new(bytes)).map(Some).map_err(|error| damaged(name, error))
    }
}

fn damaged(name: &str, reason: impl Display) -> String {
    format!("has an array {name} that cannot be read: {reason}")
}

/// What the values are, and how many bytes each takes.
fn kind(file: &NpyFile<Bytes>) -> Option<(TypeChar, u64)> {
    match file.dtype() {
        DType::Plain(plain) => Some((plain.type_char(), plain.size_field())),
        _ => None,
    }
}

fn must_be(name: &str, range: &str, file: &NpyFile<Bytes>) -> String {
    format!("has an array {name} that must be of {range}, but is of {}", file.dtype().descr())
}

fn values<S: Deserialize, T>(name: &str, file: NpyFile<Bytes>, convert: impl Fn(S) -> T) -> Result<Array<T>, String> {
    let shape: Vec<usize> = file.shape().iter().map(|&length| length as usize).collect();
    if file.order() == Order::Fortran && shape.len() > 1 {
        return Err(damaged(name, "its first axis is the fastest; save numpy.ascontiguousarray of it"));
    }
    let values = file.data::<S>().map_err(|error| damaged(name, error))?;
    let values = values.map(|value| value.map(&convert)).collect::<Result<Vec<_>, _>>();
    Ok(Array { shape, values: values.map_err(|error| damaged(name, error))? })
}
