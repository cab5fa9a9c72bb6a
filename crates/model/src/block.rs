//! A transformer block.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Bool, Slice, Tensor, activation, backend::Backend};

use kernels::{BlockInputs, BlockWeights, Geometry, Kernels, NORM_EPSILON, linear, product};

use crate::tape::{self, Operand};
use crate::{Architecture, parameters};

/// A pre-norm transformer block: h + attention(norm(h)), then h + feed_forward(norm(h)).
///
/// # Source
/// GPT-2 (Radford et al., 2019): causal attention with biases, feed-forward of four times the width, tanh-GELU.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    attention_norm: LayerNorm<B>,
    query_key_value: Linear<B>,
    attention_out: Linear<B>,
    feed_forward_norm: LayerNorm<B>,
    feed_forward_in: Linear<B>,
    feed_forward_out: Linear<B>,
    n_heads: usize,
}

/// What the two parts of a block add to the residual stream: h + attention + feed-forward is the stream behind it.
#[derive(Clone, Debug)]
pub struct Writes<B: Backend> {
    /// Of attention, `[batch, tokens, d_model]`.
    pub attention: Tensor<B, 3>,
    /// Of the feed-forward part, `[batch, tokens, d_model]`.
    pub feed_forward: Tensor<B, 3>,
}

/// What the heads of a block's attention look at, and what each adds to the residual stream.
#[derive(Clone, Debug)]
pub struct Heads<B: Backend> {
    /// The share of its attention that a token gives to each, `[batch, n_heads, tokens, tokens]`: the last axis sums to 1.
    pub weights: Tensor<B, 4>,
    /// What each head adds, `[batch, n_heads, tokens, d_model]`. Their sum is what attention adds but for the bias of its output
    /// projection, which is no head's.
    pub writes: Tensor<B, 4>,
}

impl<B: Kernels> Block<B> {
    /// A block whose parameters are still to be loaded.
    pub(crate) fn empty(architecture: &Architecture, device: &B::Device) -> Self {
        let d = architecture.d_model;
        let norm = || LayerNormConfig::new(d).with_epsilon(NORM_EPSILON).init(device);
        let linear = |fan_in, fan_out| LinearConfig::new(fan_in, fan_out).init(device);
        Self {
            attention_norm: norm(),
            query_key_value: linear(d, 3 * d),
            attention_out: linear(d, d),
            feed_forward_norm: norm(),
            feed_forward_in: linear(d, 4 * d),
            feed_forward_out: linear(4 * d, d),
            n_heads: architecture.n_heads,
        }
    }

    /// The block at the tokens 0, every, 2·every, …: one operation where the backend has it.
    ///
    /// # Shapes
    /// `[batch, tokens, d_model]` to `[batch, tokens / every rounded up, d_model]`
    pub fn forward(&self, h: Tensor<B, 3>, every: usize) -> Tensor<B, 3> {
        tape::run(h, |h| self.operation(h, every), |h| self.reference(h, every))
    }

    /// What [`forward`](Self::forward) computes, in ordinary tensor operations.
    pub fn reference(&self, h: Tensor<B, 3>, every: usize) -> Tensor<B, 3> {
        let h = h.clone() + self.attention(h);
        let h = if every == 1 { h } else { h.slice_dim(1, Slice::new(0, None, every as isize)) };
        h.clone() + self.feed_forward(h)
    }

    /// The same at every token, before it is added up.
    ///
    /// # Shapes
    /// `[batch, tokens, d_model]` to two of the same.
    pub fn writes(&self, h: Tensor<B, 3>) -> Writes<B> {
        let attention = self.attention(h.clone());
        let feed_forward = self.feed_forward(h + attention.clone());
        Writes { attention, feed_forward }
    }

    /// What each head does, in ordinary tensor operations.
    ///
    /// # Shapes
    /// `[batch, tokens, d_model]`; see [`Heads`].
    pub fn heads(&self, h: Tensor<B, 3>) -> Heads<B> {
        let d_model = h.dims()[2];
        let (weights, mixed) = self.mix(h);
        // The rows of the output projection that read from each head.
        let out = self.attention_out.weight.val().reshape([1, self.n_heads, d_model / self.n_heads, d_model]);
        Heads { weights, writes: product(mixed, out) }
    }

    /// The block at every token where attention adds `more` beside what it does. It is [`forward`](Self::forward) and what
    /// that changes, so that nothing added changes no bit.
    ///
    /// # Shapes
    /// `[batch, tokens, d_model]` twice, to the same.
    pub fn forward_with(&self, h: Tensor<B, 3>, more: Tensor<B, 3>) -> Tensor<B, 3> {
        let read = h.clone() + self.attention(h.clone());
        let further = self.feed_forward(read.clone() + more.clone()) - self.feed_forward(read);
        self.forward(h, 1) + (more + further)
    }

    /// The block as one operation, and what that is computed from.
    pub(crate) fn operation(&self, h: Tensor<B, 3>, every: usize) -> (Geometry, BlockInputs<Operand<B>>) {
        let [sequences, tokens, d_model] = h.dims();
        let geometry = Geometry { sequences, tokens, d_model, n_heads: self.n_heads, every };
        let weights = BlockWeights {
            attention_norm: parameters::of_norm(&self.attention_norm),
            query_key_value: parameters::of_linear(&self.query_key_value),
            attention_out: parameters::of_linear(&self.attention_out),
            feed_forward_norm: parameters::of_norm(&self.feed_forward_norm),
            feed_forward_in: parameters::of_linear(&self.feed_forward_in),
            feed_forward_out: parameters::of_linear(&self.feed_forward_out),
        };
        (geometry, BlockInputs { weights, h: Operand::given(h) })
    }

    fn attention(&self, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, tokens, d_model] = h.dims();
        let (_, mixed) = self.mix(h);
        linear(&self.attention_out, mixed.swap_dims(1, 2).reshape([batch, tokens, d_model]))
    }

    /// softmax(q kᵀ / √d_head, causal) in every head, of the normed states, and its product with v: `[batch, n_heads, tokens,
    /// tokens]` and `[batch, n_heads, tokens, d_head]`.
    fn mix(&self, h: Tensor<B, 3>) -> (Tensor<B, 4>, Tensor<B, 4>) {
        let [batch, tokens, d_model] = h.dims();
        let d_head = d_model / self.n_heads;
        let qkv = linear(&self.query_key_value, self.attention_norm.forward(h));
        // [batch, tokens, 3 d_model] -> [batch, n_heads, tokens, d_head]
        let heads = |part: usize| {
            qkv.clone()
                .narrow(2, part * d_model, d_model)
                .reshape([batch, tokens, self.n_heads, d_head])
                .swap_dims(1, 2)
        };
        let scores = product(heads(0) / (d_head as f64).sqrt(), heads(1).swap_dims(2, 3));
        let future = Tensor::<B, 2, Bool>::tril_mask([tokens, tokens], 0, &scores.device());
        let scores = scores.mask_fill(future.unsqueeze::<4>(), f32::NEG_INFINITY);
        let weights = activation::softmax(scores, 3);
        (weights.clone(), product(weights, heads(2)))
    }

    fn feed_forward(&self, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let normed = self.feed_forward_norm.forward(h);
        linear(&self.feed_forward_out, gelu_tanh(linear(&self.feed_forward_in, normed)))
    }
}

/// GELU in its tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))), written as x·σ(2√(2/π)(x + 0.044715x³)): the same
/// function, in fewer passes over memory.
///
/// # Source
/// Hendrycks and Gimpel (2016), arXiv 1606.08415; 2σ(2u) = 1 + tanh(u).
fn gelu_tanh<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let scale = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let u = x.clone() * (x.clone() * x.clone() * (scale * 0.044715) + scale);
    x * activation::sigmoid(u)
}
