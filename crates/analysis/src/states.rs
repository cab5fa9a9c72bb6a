//! From a model and prompts to hidden states and predictions on the host.

use burn::tensor::backend::Backend;
use data::{Batch, Prompt, Token};
use model::{FusedBackend, Transformer};
use nalgebra::DMatrix;
use rayon::prelude::*;

use crate::States;

/// Prompts that go through the model together; small enough that hidden states stay in cache.
pub(crate) const CHUNK: usize = 64;

/// Hidden states of some prompts at some tokens, at every layer.
#[derive(Clone, Debug)]
pub struct Representations {
    /// Concept of every prompt.
    pub labels: Vec<usize>,
    /// The tokens kept.
    pub tokens: Vec<Token>,
    /// Predictions at every pair, `[n_prompts][n_points]`.
    pub predictions: Vec<Vec<f64>>,
    /// Row-major `[layers + 1, tokens, n_prompts, d_model]`.
    states: Vec<f32>,
    d_model: usize,
}

impl Representations {
    /// Runs `prompts` through the model and keeps the residual stream at `tokens`.
    pub fn collect<B: FusedBackend>(
        model: &Transformer<B>,
        prompts: &[Prompt],
        tokens: &[Token],
        device: &B::Device,
    ) -> Self {
        let chunks: Vec<_> = prompts.par_chunks(CHUNK).map(|chunk| capture(model, chunk, tokens, device)).collect();
        let d_model = chunks[0].states[0].len() / tokens.len() / chunks[0].predictions.len();
        let layers = chunks[0].states.len();
        let mut states = Vec::with_capacity(layers * tokens.len() * prompts.len() * d_model);
        for layer in 0..layers {
            for token in 0..tokens.len() {
                for chunk in &chunks {
                    let rows = chunk.states[layer].chunks_exact(d_model);
                    states.extend(rows.skip(token).step_by(tokens.len()).flatten());
                }
            }
        }
        Self {
            labels: prompts.iter().map(|prompt| prompt.concept.0).collect(),
            tokens: tokens.to_vec(),
            predictions: chunks.into_iter().flat_map(|chunk| chunk.predictions).collect(),
            states,
            d_model,
        }
    }

    /// Layers kept: the embedding and one after every block.
    pub fn n_layers(&self) -> usize {
        self.states.len() / (self.tokens.len() * self.labels.len() * self.d_model)
    }

    /// Width of the states.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// The states of all prompts at one layer and token (an index into `tokens`).
    pub fn states(&self, layer: usize, token: usize) -> States {
        let values = self.row_major(layer, token).iter().map(|&value| f64::from(value));
        States::new(DMatrix::from_row_iterator(self.labels.len(), self.d_model, values))
    }

    /// As [`states`](Self::states), in f32 as the model gave them: row-major `[n_prompts, d_model]`.
    pub fn row_major(&self, layer: usize, token: usize) -> &[f32] {
        let len = self.labels.len() * self.d_model;
        let start = (layer * self.tokens.len() + token) * len;
        &self.states[start..start + len]
    }
}

/// Predictions of the model at every pair, `[n_prompts][n_points]`.
pub fn predict<B: FusedBackend>(model: &Transformer<B>, prompts: &[Prompt], device: &B::Device) -> Vec<Vec<f64>> {
    let forward = |chunk: &[Prompt]| {
        let batch = Batch::new(chunk, device);
        rows_f64(&to_vec(model.forward(batch.xs, batch.ys)), chunk.len())
    };
    prompts.par_chunks(CHUNK).flat_map_iter(forward).collect()
}

struct Chunk {
    /// One row-major `[prompts, tokens, d_model]` a layer.
    states: Vec<Vec<f32>>,
    predictions: Vec<Vec<f64>>,
}

fn capture<B: FusedBackend>(model: &Transformer<B>, prompts: &[Prompt], tokens: &[Token], device: &B::Device) -> Chunk {
    let batch = Batch::new(prompts, device);
    let stream = model.residual_stream(batch.xs, batch.ys);
    let keep = |h: burn::tensor::Tensor<B, 3>| {
        let kept = tokens.iter().map(|token| h.clone().narrow(1, token.index(), 1)).collect();
        to_vec(burn::tensor::Tensor::cat(kept, 1))
    };
    Chunk {
        states: stream.layers.into_iter().map(keep).collect(),
        predictions: rows_f64(&to_vec(stream.predictions), prompts.len()),
    }
}

pub(crate) fn to_vec<B: Backend, const D: usize>(tensor: burn::tensor::Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().expect("the data was just converted to f32")
}

fn rows_f64(values: &[f32], rows: usize) -> Vec<Vec<f64>> {
    let widen = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect();
    values.chunks_exact(values.len() / rows).map(widen).collect()
}
