//! The model: embedding, blocks, read-out, and its residual stream.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Slice, Tensor, backend::Backend};
use kernels::{Embed, EmbedInputs, Kernels, NORM_EPSILON, ReadOut, ReadOutInputs, Way, linear};

use crate::block::{Block, Writes};
use crate::latent::{Bottleneck, from_pairs, to_pairs};
use crate::{Architecture, Free, ModelError, Weights, parameters};

/// A place in the residual stream: 0 is the embedding, l is after block l.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Layer(pub usize);

/// A decoder-only transformer over the interleaved sequence x1 y1 x2 y2 … that predicts each y at its x.
///
/// `forward` is `read_out ∘ block(L) ∘ … ∘ block(1) ∘ embed`; there are no hooks, because a caller can stand between
/// any two of them.
///
/// With a [`Latent`](crate::Latent) the last blocks are a decoder: all they see of the pairs before an x token is a vector
/// of a few numbers that the blocks before them inferred, which also sets the gain of that token's embedding. The slots of
/// y tokens hold that vector's way through the decoder.
///
/// # Source
/// Token layout, read-in and read-out: Garg et al. (2022), arXiv 2208.01066. Blocks: GPT-2.
#[derive(Module, Debug)]
pub struct Transformer<B: Backend> {
    read_in: Linear<B>,
    positions: Param<Tensor<B, 2>>,
    blocks: Vec<Block<B>>,
    latent: Option<Bottleneck<B>>,
    final_norm: LayerNorm<B>,
    read_out: Linear<B>,
    /// Blocks before the latent; all of them without one.
    encoder_layers: usize,
}

/// What [`Transformer::residual_stream`] keeps of a forward pass.
#[derive(Clone, Debug)]
pub struct ResidualStream<B: Backend> {
    /// Hidden states of layer 0 to L, each `[batch, 2 n_points, d_model]`.
    pub layers: Vec<Tensor<B, 3>>,
    /// Predictions at the x tokens, `[batch, n_points]`.
    pub predictions: Tensor<B, 2>,
}

impl<B: Kernels> Transformer<B> {
    /// A model with the given weights.
    ///
    /// # Errors
    /// When a parameter is missing, superfluous, or of another shape.
    pub fn new(architecture: &Architecture, weights: &Weights, device: &B::Device) -> Result<Self, ModelError> {
        architecture.check()?;
        parameters::check(architecture, weights)?;
        let Architecture { d_x, d_model, .. } = *architecture;
        let empty = Self {
            read_in: LinearConfig::new(d_x, d_model).init(device),
            positions: Param::from_tensor(Tensor::zeros([architecture.seq_len(), d_model], device)),
            blocks: (0..architecture.n_layers).map(|_| Block::empty(architecture, device)).collect(),
            latent: architecture.latent.map(|latent| Bottleneck::empty(architecture, latent, device)),
            final_norm: LayerNormConfig::new(d_model).with_epsilon(NORM_EPSILON).init(device),
            read_out: LinearConfig::new(d_model, 1).init(device),
            encoder_layers: architecture.encoder_layers(),
        };
        Ok(empty.map(&mut parameters::Load { weights, device, path: Vec::new() }))
    }

    /// The same model, in which only the parameters that `free` names get gradients.
    pub fn freeze_all_but(self, free: Free) -> Self {
        fn keep<B: Backend, M: Module<B>>(module: M, free: bool) -> M {
            if free { module } else { module.no_grad() }
        }
        let (embedding, read_out) = (free == Free::All, matches!(free, Free::All | Free::ReadOut));
        let last = self.blocks.len();
        let blocks = self.blocks.into_iter().zip(1..);
        Self {
            read_in: keep(self.read_in, embedding),
            positions: keep(self.positions, embedding),
            blocks: blocks.map(|(block, layer)| keep(block, free.has_block(layer, last))).collect(),
            latent: self.latent.map(|latent| keep(latent, free == Free::All)),
            final_norm: keep(self.final_norm, read_out),
            read_out: keep(self.read_out, read_out),
            encoder_layers: self.encoder_layers,
        }
    }

    /// The weights, copied to the host.
    pub fn weights(&self) -> Weights {
        parameters::to_weights(self)
    }

    /// The last layer, L.
    pub fn last_layer(&self) -> Layer {
        Layer(self.blocks.len())
    }

    /// Residual stream at layer 0: read-in of the tokens plus their positions. A y token is (y, 0, …, 0).
    ///
    /// # Shapes
    /// `[batch, n_points, d_x]` and `[batch, n_points]` to `[batch, 2 n_points, d_model]`
    pub fn embed(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        let tokens = 2 * ys.dims()[1];
        self.embed_first(tokens, xs, ys)
    }

    /// The first `n` tokens of [`embed`](Self::embed): one operation where the backend has it.
    fn embed_first(&self, n: usize, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        let fused = |(xs, ys): (Tensor<B, 3>, Tensor<B, 2>)| {
            let embed = Embed { prompts: ys.dims()[0], tokens: n, d_model: self.positions.dims()[1] };
            let linear = parameters::of_linear(&self.read_in);
            let positions = parameters::primitive(self.positions.val());
            (embed, EmbedInputs { linear, positions, xs: parameters::primitive(xs), ys: parameters::primitive(ys) })
        };
        B::Way::run((xs, ys), fused, |(xs, ys)| self.embed_reference(n, xs, ys))
    }

    fn embed_reference(&self, n: usize, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        let [batch, n_points, d_x] = xs.dims();
        let zeros = Tensor::zeros([batch, n_points, d_x - 1], &xs.device());
        let ys = Tensor::cat(vec![ys.unsqueeze_dim(2), zeros], 2);
        let tokens = Tensor::stack::<4>(vec![xs, ys], 2).reshape([batch, 2 * n_points, d_x]).narrow(1, 0, n);
        linear(&self.read_in, tokens) + self.positions.val().narrow(0, 0, n).unsqueeze()
    }

    /// Residual stream at `layer`, from `h`, the one at the layer before. The decoder of a model with a latent reads its
    /// queries from `embedded`, the one at layer 0; other blocks do not look at it.
    ///
    /// # Shapes
    /// `[batch, 2 n_points, d_model]` twice, to the same.
    ///
    /// # Panics
    /// When `layer` is 0 or behind the last.
    pub fn block(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let [_, tokens, _] = h.dims();
        let written = self.blocks[layer.0 - 1].forward(self.seen(layer, embedded, h), 1);
        self.put_back(layer, written, tokens)
    }

    /// What the two parts of the block at `layer` add to what it sees, in ordinary tensor operations on every backend.
    /// It sees the residual stream at the layer before; the first block behind a latent sees what the decoder starts from.
    ///
    /// # Shapes
    /// As [`block`](Self::block), to two of the same.
    ///
    /// # Panics
    /// As [`block`](Self::block).
    pub fn writes(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Writes<B> {
        let [_, tokens, _] = h.dims();
        let Writes { attention, feed_forward } = self.blocks[layer.0 - 1].writes(self.seen(layer, embedded, h));
        let [attention, feed_forward] = [attention, feed_forward].map(|part| self.put_back(layer, part, tokens));
        Writes { attention, feed_forward }
    }

    /// The sequences that the block at `layer` works on.
    fn seen(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {
        match &self.latent {
            Some(latent) if layer.0 == self.encoder_layers + 1 => to_pairs(latent.forward(embedded.clone(), h)),
            Some(_) if layer.0 > self.encoder_layers => to_pairs(h),
            _ => h,
        }
    }

    /// From such sequences back to those of all tokens.
    fn put_back(&self, layer: Layer, seen: Tensor<B, 3>, tokens: usize) -> Tensor<B, 3> {
        if layer.0 > self.encoder_layers { from_pairs(seen, tokens) } else { seen }
    }

    /// Predictions of every y, read at its x token.
    ///
    /// # Shapes
    /// `[batch, 2 n_points, d_model]` to `[batch, n_points]`
    pub fn read_out(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        let [batch, tokens, d_model] = h.dims();
        self.read_out_at_x(h.reshape([batch, tokens / 2, 2 * d_model]).narrow(2, 0, d_model))
    }

    /// One operation where the backend has it.
    ///
    /// # Shapes
    /// `[batch, n_points, d_model]` to `[batch, n_points]`
    fn read_out_at_x(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        let fused = |h: Tensor<B, 3>| {
            let [batch, n_points, _] = h.dims();
            let (norm, linear) = (parameters::of_norm(&self.final_norm), parameters::of_linear(&self.read_out));
            (ReadOut { shape: [batch, n_points] }, ReadOutInputs { norm, linear, h: parameters::primitive(h) })
        };
        B::Way::run(h, fused, |h| self.read_out_reference(h))
    }

    fn read_out_reference(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        let [batch, n_points, d_model] = h.dims();
        // No product of a matrix and a column, which burn 0.21 may get wrong on a GPU (tracel-ai/burn issue 5122).
        let weight = self.read_out.weight.val().reshape([1, 1, d_model]);
        let bias = self.read_out.bias.as_ref().expect("the read-out has a bias").val().unsqueeze();
        (self.final_norm.forward(h) * weight).sum_dim(2).reshape([batch, n_points]) + bias
    }

    /// Predictions of every y from the pairs before it.
    ///
    /// What cannot reach them is left out: the last y token, and the last block's output at y tokens.
    ///
    /// # Shapes
    /// `[batch, n_points, d_x]` and `[batch, n_points]` to `[batch, n_points]`
    pub fn forward(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 2> {
        let tokens = 2 * ys.dims()[1] - 1;
        let embedded = self.embed_first(tokens, xs, ys);
        let before_last = (1..self.blocks.len()).map(Layer);
        let h = before_last.fold(embedded.clone(), |h, layer| self.block(layer, &embedded, h));
        self.read_out_at_x(match &self.latent {
            None => self.blocks[self.blocks.len() - 1].forward(h, 2),
            Some(_) => self.block(self.last_layer(), &embedded, h).slice_dim(1, Slice::new(0, None, 2)),
        })
    }

    /// Predictions, and the hidden states of every layer on the way.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); see [`ResidualStream`].
    pub fn residual_stream(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> ResidualStream<B> {
        let mut layers = vec![self.embed(xs, ys)];
        for layer in 1..=self.blocks.len() {
            layers.push(self.block(Layer(layer), &layers[0], layers[layer - 1].clone()));
        }
        let predictions = self.read_out(layers[layers.len() - 1].clone());
        ResidualStream { layers, predictions }
    }
}
