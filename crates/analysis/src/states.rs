//! From a model and prompts to hidden states and predictions on the host.

use burn::tensor::{Tensor, backend::Backend};
use data::{Prompt, Token};
use model::{Batch, Kernels, Layer, Transformer, Writes};
use nalgebra::DMatrix;
use rayon::prelude::*;
use run::Site;

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
    /// Row-major `[layers, tokens, n_prompts, d_model]`.
    states: Vec<f32>,
    d_model: usize,
}

impl Representations {
    /// Runs `prompts` through the model and keeps the residual stream at `tokens`.
    pub fn collect<B: Kernels>(
        model: &Transformer<B>,
        prompts: &[Prompt],
        tokens: &[Token],
        device: &B::Device,
    ) -> Self {
        Self::collect_at(Site::Residual, model, prompts, tokens, device)
    }

    /// Runs `prompts` through the model and keeps what is at `site`, from its first layer on.
    pub fn collect_at<B: Kernels>(
        site: Site,
        model: &Transformer<B>,
        prompts: &[Prompt],
        tokens: &[Token],
        device: &B::Device,
    ) -> Self {
        let capture = |chunk| capture(site, model, chunk, tokens, device);
        let chunks: Vec<_> = prompts.par_chunks(CHUNK).map(capture).collect();
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

    /// Layers kept: one after every block, and of the residual stream the embedding before them.
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
pub fn predict<B: Kernels>(model: &Transformer<B>, prompts: &[Prompt], device: &B::Device) -> Vec<Vec<f64>> {
    let forward = |chunk: &[Prompt]| {
        let batch = Batch::new(chunk.iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..])), device);
        rows_f64(&to_vec(model.forward(batch.xs, batch.ys)), chunk.len())
    };
    prompts.par_chunks(CHUNK).flat_map_iter(forward).collect()
}

struct Chunk {
    /// One row-major `[prompts, tokens, d_model]` a layer.
    states: Vec<Vec<f32>>,
    predictions: Vec<Vec<f64>>,
}

fn capture<B: Kernels>(
    site: Site,
    model: &Transformer<B>,
    prompts: &[Prompt],
    tokens: &[Token],
    device: &B::Device,
) -> Chunk {
    let batch = Batch::new(prompts.iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..])), device);
    let stream = model.residual_stream(batch.xs, batch.ys);
    let keep = |h: Tensor<B, 3>| {
        let kept = tokens.iter().map(|token| h.clone().narrow(1, token.index(), 1)).collect();
        to_vec(Tensor::cat(kept, 1))
    };
    Chunk {
        states: at_site(site, model, stream.layers).into_iter().map(keep).collect(),
        predictions: rows_f64(&to_vec(stream.predictions), prompts.len()),
    }
}

/// What is at `site`, layer by layer, given the residual stream.
///
/// # Shapes
/// `[batch, 2 n_points, d_model]` at the layers 0 to L to the same from the site's first layer to L.
fn at_site<B: Kernels>(site: Site, model: &Transformer<B>, stream: Vec<Tensor<B, 3>>) -> Vec<Tensor<B, 3>> {
    let writes = |(h, layer): (&Tensor<B, 3>, usize)| model.writes(Layer(layer), &stream[0], h.clone());
    let writes = stream[..model.last_layer().0].iter().zip(1..).map(writes);
    match site {
        Site::Residual => stream,
        Site::Attention => writes.map(|writes| writes.attention).collect(),
        Site::FeedForward => writes.map(|writes| writes.feed_forward).collect(),
        Site::Block => writes.map(|Writes { attention, feed_forward }| attention + feed_forward).collect(),
    }
}

pub(crate) fn to_vec<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().expect("the data was just converted to f32")
}

fn rows_f64(values: &[f32], rows: usize) -> Vec<Vec<f64>> {
    let widen = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect();
    values.chunks_exact(values.len() / rows).map(widen).collect()
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;
    use data::{Purpose, Sampler, Stream, TaskRegistry};
    use run::{Config, Source};

    use super::*;

    /// Two f32 additions in another order, relative to the largest state: an f32 has a precision of 6e-8.
    const SUM_TOLERANCE: f32 = 2e-7;

    #[test]
    fn what_the_sites_hold_adds_up_to_the_residual_stream() {
        let config = Config::resolve(&Source::named("smoke"), &[]).unwrap();
        let experiment = config.build(&TaskRegistry::builtin()).unwrap();
        let weights = experiment.config.model.init(&experiment.architecture, &mut Stream::new(0, Purpose::Init).rng(0));
        let device = Default::default();
        let model = Transformer::<NdArray>::new(&experiment.architecture, &weights, &device).unwrap();
        // More than one chunk.
        let prompts = Sampler::new(experiment.task, Stream::new(0, Purpose::Probe)).balanced(0, 40);
        let tokens = [Token::Y(2), Token::X(6)];
        let [residual, attention, feed_forward, block] =
            Site::ALL.map(|site| Representations::collect_at(site, &model, &prompts, &tokens, &device));
        assert_eq!([&residual, &attention, &feed_forward, &block].map(Representations::n_layers), [3, 2, 2, 2]);
        for (layer, token) in (1..=2).flat_map(|layer| [0, 1].map(|token| (layer, token))) {
            let [before, behind] = [layer - 1, layer].map(|layer| residual.row_major(layer, token));
            let [first, second, both] =
                [&attention, &feed_forward, &block].map(|site| site.row_major(layer - 1, token));
            let largest = behind.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for i in 0..both.len() {
                assert_eq!(first[i] + second[i], both[i]);
                assert!((before[i] + both[i] - behind[i]).abs() <= SUM_TOLERANCE * largest, "layer {layer}, {i}");
            }
        }
    }
}
