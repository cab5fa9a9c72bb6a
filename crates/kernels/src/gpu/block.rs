//! A block, forward and backward.

use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::attention::{Heads, attention, attention_gradient};
use super::attention_cores;
use super::products::{Then, parts, product, product_over_rows, transposed};
use super::rows::{self, Rows};
use super::sums::column_sums;
use super::tiles;
use super::{arg, by_row, contiguous, empty, empty_groups, like, shaped};
use crate::{BlockInputs, BlockWeights, Geometry, Linear, Norm};

/// What the backward pass needs of the forward pass, matrices of `[rows, width]`.
#[derive(Clone, Debug)]
pub struct SavedBlock<R: CubeRuntime> {
    attention_normed: Normed<R>,
    qkv: CubeTensor<R>,
    mixed: CubeTensor<R>,
    log_sums: CubeTensor<R>,
    /// The residual stream behind attention.
    h: CubeTensor<R>,
    feed_forward_normed: Normed<R>,
    hidden: CubeTensor<R>,
    active: CubeTensor<R>,
}

/// The output of a layer norm, and the mean and 1/σ of every row of its input.
#[derive(Clone, Debug)]
struct Normed<R: CubeRuntime> {
    values: CubeTensor<R>,
    statistics: CubeTensor<R>,
}

impl<R: CubeRuntime> SavedBlock<R> {
    /// Room for it, as yet of no content.
    fn empty(geometry: &Geometry, like: &CubeTensor<R>) -> Self {
        let ([all, taken], d, n_heads) = (geometry.rows(), geometry.d_model, geometry.n_heads);
        let of_attention = [[all, d], [all, 2], [all, 3 * d], [taken, d], [taken, n_heads]];
        let of_feed_forward = [[taken, d], [taken, d], [taken, 2], [taken, 4 * d], [taken, 4 * d]];
        let [[values, statistics, qkv, mixed, log_sums], of_feed_forward] =
            empty_groups(like, [of_attention, of_feed_forward]);
        let attention_normed = Normed { values, statistics };
        let [h, values, statistics, hidden, active] = of_feed_forward;
        let feed_forward_normed = Normed { values, statistics };
        Self { attention_normed, qkv, mixed, log_sums, h, feed_forward_normed, hidden, active }
    }
}

impl Geometry {
    fn heads(&self) -> Heads {
        let d_head = self.d_model / self.n_heads;
        Heads { tokens: self.tokens, n_heads: self.n_heads, d_head, every: self.every }
    }

    /// Cubes of attention: one a head of a sequence, with a plane for every tile of tokens, or without tensor cores a unit
    /// for every token, as far as it can have as many.
    fn cubes(&self, on_tensor_cores: bool) -> (CubeCount, CubeDim) {
        let planes = self.tokens.div_ceil(tiles::ROWS).min(8) as u32;
        let units = self.tokens.next_multiple_of(32).min(256) as u32;
        let dim = if on_tensor_cores { CubeDim::new_2d(32, planes) } else { CubeDim::new_1d(units) };
        (CubeCount::Static(self.sequences as u32, self.n_heads as u32, 1), dim)
    }

    /// Rows of the input, and of what attention writes to.
    fn rows(&self) -> [usize; 2] {
        [self.sequences * self.tokens, self.sequences * self.outputs()]
    }

    /// Which rows of the input attention writes to.
    fn written(&self) -> Rows {
        Rows { width: self.d_model, tokens: self.tokens, every: self.every }
    }
}

/// The output of a block, and what its gradient needs.
pub(crate) fn block<R: CubeRuntime>(
    geometry: &Geometry,
    inputs: BlockInputs<CubeTensor<R>>,
) -> (CubeTensor<R>, SavedBlock<R>) {
    let BlockInputs { weights, h } = contiguous(inputs);
    let h = shaped(h, &[geometry.rows()[0], geometry.d_model]);
    let mut saved = SavedBlock::empty(geometry, &h);
    attend(geometry, &weights, &h, &mut saved);
    let out = feed_forward(geometry, &weights, &h, &mut saved);
    (shaped(out, &[geometry.sequences, geometry.outputs(), geometry.d_model]), saved)
}

/// What attention writes, without the bias, to where the residual stream behind it will be.
fn attend<R: CubeRuntime>(
    geometry: &Geometry,
    weights: &BlockWeights<CubeTensor<R>>,
    h: &CubeTensor<R>,
    saved: &mut SavedBlock<R>,
) {
    let (client, d) = (&h.client, geometry.d_model);
    let BlockWeights { attention_norm: Norm { gamma, beta }, query_key_value, attention_out, .. } = weights;
    let Normed { values: normed, statistics } = &saved.attention_normed;
    let (count, dim) = by_row(h);
    let [h, gamma, beta, values, moments] = [h, gamma, beta, normed, statistics].map(arg);
    rows::layer_norm::launch(client, count, dim, h, gamma, beta, values, moments, d);
    saved.qkv = product(normed, &query_key_value.weight, Then::Add(&query_key_value.bias), &saved.qkv);
    let heads = geometry.heads();
    let vector = attention_cores::vector(client, &heads);
    let (count, dim) = geometry.cubes(vector.is_some());
    let [qkv, mixed, log_sums] = [&saved.qkv, &saved.mixed, &saved.log_sums].map(arg);
    let kernels = [attention::launch_unchecked, attention_cores::attention::launch_unchecked];
    let launch = kernels[usize::from(vector.is_some())];
    let vector = vector.unwrap_or(heads.vector());
    #[expect(unsafe_code, reason = "no bounds are checked; the kernels stay within their shapes")]
    unsafe {
        launch(client, count, dim, vector, qkv, mixed, log_sums, heads);
    }
    saved.h = product(&saved.mixed, &attention_out.weight, Then::Nothing, &saved.h);
}

/// The block's output.
fn feed_forward<R: CubeRuntime>(
    geometry: &Geometry,
    weights: &BlockWeights<CubeTensor<R>>,
    h: &CubeTensor<R>,
    saved: &mut SavedBlock<R>,
) -> CubeTensor<R> {
    let (client, d) = (&h.client, geometry.d_model);
    let BlockWeights { attention_out, feed_forward_norm, feed_forward_in, feed_forward_out, .. } = weights;
    let Norm { gamma, beta } = feed_forward_norm;
    let Normed { values: normed, statistics } = &saved.feed_forward_normed;
    let (count, dim) = by_row(&saved.h);
    let [sum, bias, gamma, beta, values, moments] =
        [&saved.h, &attention_out.bias, gamma, beta, normed, statistics].map(arg);
    rows::add_layer_norm::launch(
        client,
        count,
        dim,
        arg(h),
        bias,
        gamma,
        beta,
        sum,
        values,
        moments,
        geometry.written(),
    );
    let Linear { weight, bias } = feed_forward_in;
    saved.hidden = product(normed, weight, Then::Gelu([bias, &saved.active]), &saved.hidden);
    let [out] = empty(h, [[geometry.rows()[1], d]]);
    let Linear { weight, bias } = feed_forward_out;
    product(&saved.active, weight, Then::AddStream([bias, &saved.h]), &out)
}

/// The gradients of a block's inputs from that of its output.
pub(crate) fn block_gradient<R: CubeRuntime>(
    geometry: &Geometry,
    inputs: BlockInputs<CubeTensor<R>>,
    saved: &SavedBlock<R>,
    gradient: CubeTensor<R>,
) -> BlockInputs<CubeTensor<R>> {
    let BlockInputs { weights, h: states } = contiguous(inputs);
    let ([all, taken], d) = (geometry.rows(), geometry.d_model);
    let h = shaped(states.clone(), &[all, d]);
    let gradient = shaped(into_contiguous(gradient), &[taken, d]);
    let [of_attention, of_feed_forward] = room(geometry, &h);
    let (gradient, of_feed_forward) = feed_forward_gradient(geometry, &weights, saved, gradient, of_feed_forward);
    let (of_h, of_attention) = attend_gradient(geometry, &weights, &h, saved, gradient, of_attention);
    let found = BlockWeights {
        attention_norm: of_attention.norm,
        query_key_value: of_attention.first,
        attention_out: of_attention.second,
        feed_forward_norm: of_feed_forward.norm,
        feed_forward_in: of_feed_forward.first,
        feed_forward_out: of_feed_forward.second,
    };
    let sums: [_; 12] = column_sums(found.into_array().into()).try_into().expect("there are as many sums as matrices");
    let mut sums = sums.into_iter();
    let of_weights = weights.into_array().map(|weight| like(&weight, sums.next().expect("there is one for each")));
    BlockInputs { weights: BlockWeights::from_array(of_weights), h: like(&states, of_h) }
}

/// Matrices whose column sums are the gradients of the parameters of attention or of the feed-forward part.
struct OfPart<R: CubeRuntime> {
    norm: Norm<CubeTensor<R>>,
    first: Linear<CubeTensor<R>>,
    second: Linear<CubeTensor<R>>,
}

/// Room for the gradients of attention and of the feed-forward part: of the norm's input, its output, its scale, what the
/// part has inside, and of the two weights as [`product_over_rows`] makes them.
fn room<R: CubeRuntime>(geometry: &Geometry, like: &CubeTensor<R>) -> [[CubeTensor<R>; 6]; 2] {
    let ([all, taken], d) = (geometry.rows(), geometry.d_model);
    let weight = |n: usize, m: usize| [parts([n, m], geometry.sequences), n * m];
    let of_attention = [[all, d], [all, d], [all, d], [all, 3 * d], weight(d, 3 * d), weight(d, d)];
    let of_feed_forward = [[taken, d], [taken, d], [taken, d], [taken, 4 * d], weight(d, 4 * d), weight(4 * d, d)];
    empty_groups(like, [of_attention, of_feed_forward])
}

/// The gradient of the residual stream behind attention from that of the block's output, and those of the parameters.
fn feed_forward_gradient<R: CubeRuntime>(
    geometry: &Geometry,
    weights: &BlockWeights<CubeTensor<R>>,
    saved: &SavedBlock<R>,
    gradient: CubeTensor<R>,
    [of_h, of_normed, of_gamma, of_hidden, of_in, of_down]: [CubeTensor<R>; 6],
) -> (CubeTensor<R>, OfPart<R>) {
    let BlockWeights { feed_forward_norm, feed_forward_in, feed_forward_out, .. } = weights;
    let then = Then::GeluGradient([&feed_forward_in.bias, &saved.hidden]);
    let of_hidden = product(&gradient, &transposed(&feed_forward_out.weight), then, &of_hidden);
    let of_normed = product(&of_hidden, &transposed(&feed_forward_in.weight), Then::Nothing, &of_normed);
    let Normed { values, statistics } = &saved.feed_forward_normed;
    let rows = Rows { width: geometry.d_model, tokens: 1, every: 1 };
    norm_gradient(
        [&saved.h, statistics, &feed_forward_norm.gamma],
        &of_normed,
        Some(&gradient),
        rows,
        [&of_h, &of_gamma],
    );
    let [of_in, of_down] = [(values, &of_hidden, of_in), (&saved.active, &gradient, of_down)]
        .map(|(input, of_output, room)| product_over_rows(input, of_output, room));
    let norm = Norm { gamma: of_gamma, beta: of_normed };
    let first = Linear { weight: of_in, bias: of_hidden };
    (of_h, OfPart { norm, first, second: Linear { weight: of_down, bias: gradient } })
}

/// The gradient of the block's input from that of the residual stream behind attention, and those of the parameters.
fn attend_gradient<R: CubeRuntime>(
    geometry: &Geometry,
    weights: &BlockWeights<CubeTensor<R>>,
    h: &CubeTensor<R>,
    saved: &SavedBlock<R>,
    gradient: CubeTensor<R>,
    [of_h, of_normed, of_gamma, of_qkv, of_w_qkv, of_w_out]: [CubeTensor<R>; 6],
) -> (CubeTensor<R>, OfPart<R>) {
    let BlockWeights { attention_norm, query_key_value, attention_out, .. } = weights;
    // The norm's output gets its gradient when that of what attention mixed has been used.
    let of_mixed = shaped(of_normed.clone(), saved.mixed.meta.shape().as_slice());
    let of_mixed = product(&gradient, &transposed(&attention_out.weight), Then::Nothing, &of_mixed);
    let heads = geometry.heads();
    let vector = attention_cores::vector(&h.client, &heads);
    let (count, dim) = geometry.cubes(vector.is_some());
    let [qkv, mixed, log_sums, of_outputs, of_inputs] =
        [&saved.qkv, &saved.mixed, &saved.log_sums, &of_mixed, &of_qkv].map(arg);
    let kernels = [attention_gradient::launch_unchecked, attention_cores::attention_gradient::launch_unchecked];
    let launch = kernels[usize::from(vector.is_some())];
    let vector = vector.unwrap_or(heads.vector());
    #[expect(unsafe_code, reason = "no bounds are checked; the kernels stay within their shapes")]
    unsafe {
        launch(&h.client, count, dim, vector, qkv, mixed, log_sums, of_outputs, of_inputs, heads);
    }
    let of_normed = product(&of_qkv, &transposed(&query_key_value.weight), Then::Nothing, &of_normed);
    let Normed { values, statistics } = &saved.attention_normed;
    let inputs = [h, statistics, &attention_norm.gamma];
    norm_gradient(inputs, &of_normed, Some(&gradient), geometry.written(), [&of_h, &of_gamma]);
    let [of_w_qkv, of_w_out] = [(values, &of_qkv, of_w_qkv), (&saved.mixed, &gradient, of_w_out)]
        .map(|(input, of_output, room)| product_over_rows(input, of_output, room));
    let norm = Norm { gamma: of_gamma, beta: of_normed };
    let first = Linear { weight: of_w_qkv, bias: of_qkv };
    (of_h, OfPart { norm, first, second: Linear { weight: of_w_out, bias: gradient } })
}

/// The gradient of a norm's input from that of its output, plus what the rows that are written have already, and a
/// matrix whose column sums are the gradient of its scale, each into its room.
pub(super) fn norm_gradient<R: CubeRuntime>(
    [h, statistics, gamma]: [&CubeTensor<R>; 3],
    gradient: &CubeTensor<R>,
    written: Option<&CubeTensor<R>>,
    rows: Rows,
    [of_h, of_gamma]: [&CubeTensor<R>; 2],
) {
    let (count, dim) = by_row(h);
    let (adds, written) = (written.is_some(), written.unwrap_or(gradient));
    let [states, statistics, gamma, gradient, written] = [h, statistics, gamma, gradient, written].map(arg);
    rows::layer_norm_gradient::launch(
        &h.client,
        count,
        dim,
        states,
        statistics,
        gamma,
        gradient,
        written,
        arg(of_h),
        arg(of_gamma),
        rows,
        adds,
    );
}
