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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::fixtures::folder;

    #[test]
    fn weights_drawn_anew_are_the_same_alone_and_together() {
        let config = folder("gemma2").config;
        let (drawn, name, shape) = (DrawnAnew::new(3, &config), "model.layers.1.mlp.up_proj.weight", [32, 24]);
        let all = drawn.tensor(name, &shape).unwrap();
        assert_eq!(
            drawn.rows(name, &[9, 2, 31], 24).unwrap(),
            [9, 2, 31].map(|row| &all[row * 24..(row + 1) * 24]).concat()
        );
        let others = [
            drawn.tensor("model.layers.0.mlp.up_proj.weight", &shape),
            DrawnAnew::new(4, &config).tensor(name, &shape),
        ];
        assert!(others.into_iter().all(|other| other.unwrap() != all));
        let spread = all.iter().map(|value| value * value).sum::<f32>() / all.len() as f32;
        assert!((spread.sqrt() / config.initial_spread - 1.0).abs() < 0.1, "{spread}");
        // What is stored of a norm is its distance from 1.
        assert_eq!(drawn.tensor("model.norm.weight", &[24]).unwrap(), [0.0; 24]);
        assert_eq!(drawn.tensor("model.layers.0.self_attn.q_proj.bias", &[24]).unwrap(), [0.0; 24]);
    }
}
