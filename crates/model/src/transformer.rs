//! The transformer: embedding, blocks and read-out.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Tensor, backend::Backend};
use kernels::{Embed, EmbedInputs, Kernels, NORM_EPSILON, ReadOut, ReadOutInputs, linear};

use crate::block::{Block, Heads, Writes};
use crate::config::{between, out_of_range};
use crate::ends::{at_x, number, tokens};
use crate::latent::{Bottleneck, from_pairs, heads_from_pairs, to_pairs};
use crate::model::{Layers, Plan};
use crate::parameters::{self, Role, Spec};
use crate::tape::{self, Operand, Tape};
use crate::{Architecture, Free, Latent, Layer, ModelError};

/// A decoder-only transformer over the interleaved sequence x1 y1 x2 y2 … that predicts each y at its x.
///
/// With a [`Latent`] the last blocks are a decoder: all they see of the pairs before an x token is a vector
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

pub(crate) const PLAN: Plan = Plan { check, specs, forward_flops };

fn check(architecture: &Architecture) -> Result<(), ModelError> {
    let Architecture { n_points, d_model, n_layers, n_heads, latent, .. } = *architecture;
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(out_of_range("model.n_heads", format!("a divisor of model.d_model ({d_model})"), n_heads));
    }
    let Some(Latent { width, decoder_layers }) = latent else { return Ok(()) };
    if n_points < 2 {
        return Err(out_of_range("task.n_points", "at least 2 with model.latent", n_points));
    }
    between("model.latent.width", width, d_model)?;
    if !(1..n_layers).contains(&decoder_layers) {
        let range = format!("between 1 and one less than model.n_layers ({n_layers})");
        return Err(out_of_range("model.latent.decoder_layers", range, decoder_layers));
    }
    Ok(())
}

fn specs(architecture: &Architecture) -> Vec<Spec> {
    let Architecture { d_x, d_model: d, .. } = *architecture;
    let mut specs = vec![
        Spec::new("read_in.weight", &[d_x, d], Role::ReadIn { fan_in: d_x }),
        Spec::new("read_in.bias", &[d], Role::Boundary { fan_in: d_x, bias: true }),
        Spec::new("positions", &[architecture.seq_len(), d], Role::Position),
    ];
    for layer in 0..architecture.n_layers {
        let name = |field: &str| format!("blocks.{layer}.{field}");
        specs.extend([
            Spec::new(name("attention_norm.gamma"), &[d], Role::NormScale),
            Spec::new(name("attention_norm.beta"), &[d], Role::NormShift),
            Spec::new(name("query_key_value.weight"), &[d, 3 * d], Role::Linear { fan_in: d }).side_by_side(3),
            Spec::new(name("query_key_value.bias"), &[3 * d], Role::Bias),
            Spec::new(name("attention_out.weight"), &[d, d], Role::Residual { fan_in: d }),
            Spec::new(name("attention_out.bias"), &[d], Role::Bias),
            Spec::new(name("feed_forward_norm.gamma"), &[d], Role::NormScale),
            Spec::new(name("feed_forward_norm.beta"), &[d], Role::NormShift),
            Spec::new(name("feed_forward_in.weight"), &[d, 4 * d], Role::Linear { fan_in: d }),
            Spec::new(name("feed_forward_in.bias"), &[4 * d], Role::Bias),
            Spec::new(name("feed_forward_out.weight"), &[4 * d, d], Role::Residual { fan_in: 4 * d }),
            Spec::new(name("feed_forward_out.bias"), &[d], Role::Bias),
        ]);
    }
    if let Some(Latent { width, .. }) = architecture.latent {
        specs.extend([
            Spec::new("latent.norm.gamma", &[d], Role::NormScale),
            Spec::new("latent.norm.beta", &[d], Role::NormShift),
            Spec::new("latent.infer.weight", &[d, width], Role::Linear { fan_in: d }),
            Spec::new("latent.infer.bias", &[width], Role::Bias),
            Spec::new("latent.tell.weight", &[width, d], Role::Linear { fan_in: width }),
            Spec::new("latent.tell.bias", &[d], Role::Bias),
            Spec::new("latent.gain.weight", &[width, d], Role::Linear { fan_in: width }),
            Spec::new("latent.gain.bias", &[d], Role::Bias),
        ]);
    }
    specs.extend([
        Spec::new("final_norm.gamma", &[d], Role::NormScale),
        Spec::new("final_norm.beta", &[d], Role::NormShift),
        Spec::new("read_out.weight", &[d, 1], Role::Boundary { fan_in: d, bias: false }),
        Spec::new("read_out.bias", &[1], Role::Boundary { fan_in: d, bias: true }),
    ]);
    specs
}

/// No last y token, no feed-forward behind the last block's y tokens, no future keys.
fn forward_flops(architecture: &Architecture) -> u64 {
    let Architecture { d_x, n_points, d_model, n_layers, latent, .. } = *architecture;
    let [d_x, n_points, d, layers] = [d_x, n_points, d_model, n_layers].map(|n| n as u64);
    let (tokens, context) = (2 * n_points - 1, 2 * (n_points - 1));
    // Tokens that ask, tokens they look at, and pairs of the two: query, output and feed-forward; keys and values; a
    // query with a key and a weight with a value.
    let block = |asking, asked, pairs| 2 * 10 * d * d * asking + 2 * 2 * d * d * asked + 2 * 2 * d * pairs;
    let causal = |tokens| block(tokens, tokens, tokens * (tokens + 1) / 2);
    let blocks = match latent {
        None => (layers - 1) * causal(tokens) + block(n_points, tokens, n_points * n_points),
        Some(Latent { width, decoder_layers }) => {
            let (latents, decoder) = (n_points - 1, decoder_layers as u64);
            let encoder = (layers - decoder - 1) * causal(context) + block(latents, context, latents * n_points);
            let squeezed = latents * 3 * 2 * d * width as u64;
            // A query looks at the latent and itself, a latent at itself.
            let decoder = (decoder - 1) * block(tokens, tokens, tokens + latents) + block(n_points, tokens, tokens);
            encoder + squeezed + decoder
        }
    };
    blocks + tokens * 2 * d_x * d + n_points * 2 * d
}

impl<B: Kernels> Transformer<B> {
    /// One whose parameters are still to be loaded.
    pub(crate) fn empty(architecture: &Architecture, device: &B::Device) -> Self {
        let Architecture { d_x, d_model, .. } = *architecture;
        Self {
            read_in: LinearConfig::new(d_x, d_model).init(device),
            positions: Param::from_tensor(Tensor::zeros([architecture.seq_len(), d_model], device)),
            blocks: (0..architecture.n_layers).map(|_| Block::empty(architecture, device)).collect(),
            latent: architecture.latent.map(|latent| Bottleneck::empty(architecture, latent, device)),
            final_norm: LayerNormConfig::new(d_model).with_epsilon(NORM_EPSILON).init(device),
            read_out: LinearConfig::new(d_model, 1).init(device),
            encoder_layers: architecture.encoder_layers(),
        }
    }

    /// The first `n` tokens of [`embed`](Layers::embed): one operation where the backend has it.
    fn embed_first(&self, n: usize, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        tape::run((xs, ys), |(xs, ys)| self.embedding(n, xs, ys), |(xs, ys)| self.embed_reference(n, xs, ys))
    }

    fn embedding(&self, n: usize, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> (Embed, EmbedInputs<Operand<B>>) {
        let embed = Embed { prompts: ys.dims()[0], tokens: n, d_model: self.positions.dims()[1] };
        let (linear, positions) = (parameters::of_linear(&self.read_in), Operand::parameter(&self.positions));
        (embed, EmbedInputs { linear, positions, xs: Operand::given(xs), ys: Operand::given(ys) })
    }

    fn embed_reference(&self, n: usize, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        linear(&self.read_in, tokens(xs, ys).narrow(1, 0, n)) + self.positions.val().narrow(0, 0, n).unsqueeze()
    }

    /// The sequences that the block at `layer` works on.
    fn seen(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {
        match &self.latent {
            Some(latent) if layer.0 == self.encoder_layers + 1 => to_pairs(latent.forward(embedded.clone(), h)),
            Some(_) if self.is_decoder(layer) => to_pairs(h),
            _ => h,
        }
    }

    /// From such sequences back to those of all tokens.
    fn put_back(&self, layer: Layer, seen: Tensor<B, 3>, tokens: usize) -> Tensor<B, 3> {
        if self.is_decoder(layer) { from_pairs(seen, tokens) } else { seen }
    }

    fn is_decoder(&self, layer: Layer) -> bool {
        layer.0 > self.encoder_layers
    }

    /// The read-out at every state: one operation where the backend has it.
    ///
    /// # Shapes
    /// `[batch, n_points, d_model]` to `[batch, n_points]`
    fn read_out_at(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        tape::run(h, |h| self.way_out(h), |h| self.read_out_reference(h))
    }

    fn way_out(&self, h: Tensor<B, 3>) -> (ReadOut, ReadOutInputs<Operand<B>>) {
        let [batch, n_points, _] = h.dims();
        let (norm, linear) = (parameters::of_norm(&self.final_norm), parameters::of_linear(&self.read_out));
        (ReadOut { shape: [batch, n_points] }, ReadOutInputs { norm, linear, h: Operand::given(h) })
    }

    fn read_out_reference(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        number(&self.read_out, self.final_norm.forward(h))
    }
}

impl<B: Kernels> Layers<B> for Transformer<B> {
    fn n_layers(&self) -> usize {
        self.blocks.len()
    }

    fn embed(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        let tokens = 2 * ys.dims()[1];
        self.embed_first(tokens, xs, ys)
    }

    fn block(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let [_, tokens, _] = h.dims();
        let written = self.blocks[layer.0 - 1].forward(self.seen(layer, embedded, h), 1);
        self.put_back(layer, written, tokens)
    }

    fn writes(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Option<Writes<B>> {
        let [_, tokens, _] = h.dims();
        let Writes { attention, feed_forward } = self.blocks[layer.0 - 1].writes(self.seen(layer, embedded, h));
        let [attention, feed_forward] = [attention, feed_forward].map(|part| self.put_back(layer, part, tokens));
        Some(Writes { attention, feed_forward })
    }

    fn heads(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Option<Heads<B>> {
        let [_, tokens, _] = h.dims();
        let heads = self.blocks[layer.0 - 1].heads(self.seen(layer, embedded, h));
        Some(if self.is_decoder(layer) { heads_from_pairs(heads, tokens) } else { heads })
    }

    fn block_with(
        &self,
        layer: Layer,
        embedded: &Tensor<B, 3>,
        h: Tensor<B, 3>,
        more: Tensor<B, 3>,
    ) -> Option<Tensor<B, 3>> {
        let [_, tokens, _] = h.dims();
        let more = if self.is_decoder(layer) { to_pairs(more) } else { more };
        let written = self.blocks[layer.0 - 1].forward_with(self.seen(layer, embedded, h), more);
        Some(self.put_back(layer, written, tokens))
    }

    fn read_out(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        self.read_out_at(at_x(h))
    }

    /// Also left out is the last block's output at y tokens.
    fn forward(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 2> {
        let tokens = 2 * ys.dims()[1] - 1;
        let embedded = self.embed_first(tokens, xs, ys);
        let before_last = (1..self.blocks.len()).map(Layer);
        let h = before_last.fold(embedded.clone(), |h, layer| self.block(layer, &embedded, h));
        let last = Layer(self.blocks.len());
        self.read_out_at(match &self.latent {
            None => self.blocks[last.0 - 1].forward(h, 2),
            Some(_) => at_x(self.block(last, &embedded, h)),
        })
    }

    /// With a latent the blocks are no chain.
    fn taped(&self, tape: &mut Tape<B>, xs: Tensor<B, 3>, ys: Tensor<B, 2>, free: Free) -> Option<Tensor<B, 2>> {
        if self.latent.is_some() {
            return None;
        }
        let (tokens, n_layers) = (2 * ys.dims()[1] - 1, self.blocks.len());
        let mut h = tape.run(self.embedding(tokens, xs, ys), free.has_embedding())?;
        for (layer, block) in (1..).zip(&self.blocks) {
            let every = if layer == n_layers { 2 } else { 1 };
            h = tape.run(block.operation(h, every), free.has_block(layer, n_layers))?;
        }
        tape.run(self.way_out(h), free.has_read_out())
    }
}
