//! From last states to logits, a part of the vocabulary at a time.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use kernels::{Kernels, Product, ProductInputs};
use rayon::prelude::*;

use crate::PretrainedError;
use crate::decoder::{Reader, WeightSource, normalize};
use crate::folder::{DecoderConfig, Part};

/// Tokens whose rows of the head are in memory at a time.
const TOKENS: usize = 4096;
/// Rows of states that meet them at a time.
const ROWS: usize = 256;

/// What a model says at a place about the next token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Said {
    /// The most probable token.
    pub(crate) best: u32,
    /// ln p of the token asked for.
    pub(crate) log_probability: f64,
}

/// The last norm and the map to logits.
pub(crate) struct Head<'a> {
    pub(crate) config: &'a DecoderConfig,
    pub(crate) source: &'a dyn WeightSource,
    pub(crate) on_cpu: bool,
}

/// Logits l as cap · tanh(l / cap), where there is a cap.
pub(crate) fn capped<B: Backend>(logits: Tensor<B, 2>, cap: Option<f32>) -> Tensor<B, 2> {
    match cap {
        Some(cap) => (logits / cap).tanh() * cap,
        None => logits,
    }
}

/// What is known of a row so far.
#[derive(Clone, Copy)]
struct Seen {
    most: f32,
    best: u32,
    /// Σ exp(logit − most)
    sum: f64,
    asked: f32,
}

impl Head<'_> {
    /// What is said at every row about the next token.
    ///
    /// # Shapes
    /// `states` `[asked.len(), d_model]`
    ///
    /// # Errors
    /// When the head cannot be read.
    pub(crate) fn say<B: Kernels>(
        &self,
        states: &[f32],
        asked: &[u32],
        device: &B::Device,
    ) -> Result<Vec<Said>, PretrainedError> {
        let mut seen = vec![Seen { most: f32::NEG_INFINITY, best: 0, sum: 0.0, asked: f32::NEG_INFINITY }; asked.len()];
        self.logits_of::<B>(states, device, |first, rows, logits, tokens| {
            for ((seen, asked), logits) in
                seen[rows.clone()].iter_mut().zip(&asked[rows]).zip(logits.chunks_exact(tokens))
            {
                seen.add(first, *asked as usize, logits);
            }
        })?;
        let said =
            |seen: Seen| Said { best: seen.best, log_probability: f64::from(seen.asked - seen.most) - seen.sum.ln() };
        Ok(seen.into_iter().map(said).collect())
    }

    /// All logits, `[rows, vocabulary]`.
    ///
    /// # Errors
    /// When the head cannot be read.
    pub(crate) fn logits<B: Kernels>(&self, states: &[f32], device: &B::Device) -> Result<Vec<f32>, PretrainedError> {
        let vocabulary = self.config.vocabulary;
        let mut all = vec![0.0; states.len() / self.config.d_model * vocabulary];
        self.logits_of::<B>(states, device, |first, rows, logits, tokens| {
            for (row, logits) in rows.zip(logits.chunks_exact(tokens)) {
                all[row * vocabulary + first..][..tokens].copy_from_slice(logits);
            }
        })?;
        Ok(all)
    }

    /// Hands over logits: the first token of a part, the rows, and `[rows, tokens]` of them.
    fn logits_of<B: Kernels>(
        &self,
        states: &[f32],
        device: &B::Device,
        mut each: impl FnMut(usize, std::ops::Range<usize>, &[f32], usize),
    ) -> Result<(), PretrainedError> {
        let d = self.config.d_model;
        let normal = self.normalized::<B>(states, device)?;
        let part = if self.config.tied { Part::Embedding } else { Part::Head };
        let name = format!("{}.weight", self.config.name(part, 0).expect("every model has it"));
        for first in (0..self.config.vocabulary).step_by(TOKENS) {
            let tokens: Vec<usize> = (first..self.config.vocabulary.min(first + TOKENS)).collect();
            let weight = TensorData::new(self.source.rows(&name, &tokens, d)?, [tokens.len(), d]);
            let weight = Tensor::<B, 2>::from_data(weight, device);
            let of = |normal: &Tensor<B, 2>| {
                let product = Product { inputs: d, outputs: tokens.len(), transposed: true };
                let logits = product.apply(ProductInputs { weight: weight.clone(), x: normal.clone() });
                capped(logits, self.config.logit_cap).into_data().to_vec::<f32>().expect("logits are f32")
            };
            // A few at a time: the logits of all rows would be as large as the model.
            for (number, some) in normal.chunks(rayon::current_num_threads()).enumerate() {
                let logits: Vec<Vec<f32>> =
                    if self.on_cpu { some.par_iter().map(of).collect() } else { some.iter().map(of).collect() };
                for (at, logits) in logits.iter().enumerate() {
                    let start = (number * rayon::current_num_threads() + at) * ROWS;
                    each(first, start..start + logits.len() / tokens.len(), logits, tokens.len());
                }
            }
        }
        Ok(())
    }

    /// The rows behind the last norm.
    fn normalized<B: Kernels>(&self, states: &[f32], device: &B::Device) -> Result<Vec<Tensor<B, 2>>, PretrainedError> {
        let d = self.config.d_model;
        let reader = Reader::<B> { source: self.source, config: self.config, device };
        let norm = reader.norm(Part::FinalNorm, 0)?.expect("every model has it");
        let rows = |rows: &[f32]| {
            let data = TensorData::new(rows.to_vec(), [rows.len() / d, d]);
            normalize(self.config, &norm, Tensor::<B, 2>::from_data(data, device))
        };
        Ok(states.chunks(ROWS * d).map(rows).collect())
    }
}

impl Seen {
    fn add(&mut self, first: usize, asked: usize, logits: &[f32]) {
        let before = self.most;
        for (at, &logit) in logits.iter().enumerate() {
            if logit > self.most {
                self.most = logit;
                self.best = (first + at) as u32;
            }
        }
        if before > f32::NEG_INFINITY {
            self.sum *= f64::from(before - self.most).exp();
        }
        let most = f64::from(self.most);
        self.sum += logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum::<f64>();
        if let Some(&logit) = asked.checked_sub(first).and_then(|at| logits.get(at)) {
            self.asked = logit;
        }
    }
}
