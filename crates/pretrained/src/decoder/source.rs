//! Where weights come from: a folder, the same with adapters, or drawn anew.

use data::{Purpose, Stream};
use rand_distr::{Distribution, Normal};
use rayon::prelude::*;

use crate::PretrainedError;
use crate::folder::{DecoderConfig, Tensors};

/// Gives tensors by their name in the folder, as f32.
pub trait WeightSource: Send + Sync {
    /// A whole tensor of `shape`, row-major.
    ///
    /// # Errors
    /// When it cannot be read.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, PretrainedError>;

    /// Some rows of a matrix with so many columns.
    ///
    /// # Errors
    /// When they cannot be read.
    fn rows(&self, name: &str, rows: &[usize], columns: usize) -> Result<Vec<f32>, PretrainedError>;
}

impl WeightSource for Tensors {
    fn tensor(&self, name: &str, _: &[usize]) -> Result<Vec<f32>, PretrainedError> {
        self.read(name)
    }

    fn rows(&self, name: &str, rows: &[usize], _: usize) -> Result<Vec<f32>, PretrainedError> {
        match rows {
            [first, .., last] if last - first + 1 == rows.len() => self.row_range(name, *first, rows.len()),
            _ => self.rows(name, rows.iter().copied()),
        }
    }
}

/// Weights that nobody trained: normal with the spread that the model's own training began with; norms do nothing.
#[derive(Debug)]
pub struct DrawnAnew {
    seed: u64,
    spread: f32,
    norm_offset: f32,
}

impl DrawnAnew {
    /// Of the architecture `config`.
    pub fn new(seed: u64, config: &DecoderConfig) -> Self {
        Self { seed, spread: config.initial_spread, norm_offset: config.norm.offset }
    }

    /// Numbers that depend on the seed, the tensor and the row alone.
    fn row(&self, name: &str, row: usize, to: &mut [f32]) {
        let normal = Normal::new(0.0, self.spread).expect("a spread above 0");
        // FNV-1a: a number for a name that is the same in every program.
        let of_name = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut rng = Stream::new(self.seed ^ of_name, Purpose::Init).rng(row as u64);
        to.fill_with(|| normal.sample(&mut rng));
    }
}

impl WeightSource for DrawnAnew {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, PretrainedError> {
        match shape {
            [rows, columns] => self.rows(name, &(0..*rows).collect::<Vec<_>>(), *columns),
            // A scale that is 1, a shift or bias that is 0.
            _ => {
                let value = if name.ends_with(".bias") { 0.0 } else { 1.0 - self.norm_offset };
                Ok(vec![value; shape.iter().product()])
            }
        }
    }

    fn rows(&self, name: &str, rows: &[usize], columns: usize) -> Result<Vec<f32>, PretrainedError> {
        let mut found = vec![0.0; rows.len() * columns];
        found.par_chunks_mut(columns).zip(rows).for_each(|(to, row)| self.row(name, *row, to));
        Ok(found)
    }
}
