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
use super::{arg, by_row, empty, empty_groups, shaped};
use crate::fused::Geometry;

/// What the backward pass needs of the forward pass, matrices of `[rows, width]`.
#[derive(Clone, Debug)]
pub(crate) struct Kept<R: CubeRuntime> {
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

impl<R: CubeRuntime> Kept<R> {
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

/// The block's output, and what its gradient needs.
pub(crate) fn forward<R: CubeRuntime>(geometry: &Geometry, inputs: [CubeTensor<R>; 13]) -> (CubeTensor<R>, Kept<R>) {
    let [gamma_1, beta_1, w_qkv, b_qkv, w_out, b_out, gamma_2, beta_2, w_in, b_in, w_down, b_down, h] =
        inputs.map(into_contiguous);
    let h = shaped(h, &[geometry.rows()[0], geometry.d_model]);
    let mut kept = Kept::empty(geometry, &h);
    attend(geometry, [&gamma_1, &beta_1, &w_qkv, &b_qkv, &w_out], &h, &mut kept);
    let out = feed_forward(geometry, [&b_out, &gamma_2, &beta_2, &w_in, &b_in, &w_down, &b_down], &h, &mut kept);
    (shaped(out, &[geometry.sequences, geometry.outputs(), geometry.d_model]), kept)
}

/// What attention writes, without the bias, to where the residual stream behind it will be.
fn attend<R: CubeRuntime>(
    geometry: &Geometry,
    [gamma, beta, w_qkv, b_qkv, w_out]: [&CubeTensor<R>; 5],
    h: &CubeTensor<R>,
    kept: &mut Kept<R>,
) {
    let (client, d) = (&h.client, geometry.d_model);
    let Normed { values: normed, statistics } = &kept.attention_normed;
    let (count, dim) = by_row(h);
    let [h, gamma, beta, values, moments] = [h, gamma, beta, normed, statistics].map(arg);
    rows::layer_norm::launch(client, count, dim, h, gamma, beta, values, moments, d);
    kept.qkv = product(normed, w_qkv, Then::Add(b_qkv), &kept.qkv);
    let heads = geometry.heads();
    let vector = attention_cores::vector(client, &heads);
    let (count, dim) = geometry.cubes(vector.is_some());
    let [qkv, mixed, log_sums] = [&kept.qkv, &kept.mixed, &kept.log_sums].map(arg);
    let kernels = [attention::launch_unchecked, attention_cores::attention::launch_unchecked];
    let launch = kernels[usize::from(vector.is_some())];
    let vector = vector.unwrap_or(heads.vector());
    #[expect(unsafe_code, reason = "no bounds are checked; the kernels stay within their shapes")]
    unsafe {
        launch(client, count, dim, vector, qkv, mixed, log_sums, heads);
    }
    kept.h = product(&kept.mixed, w_out, Then::Nothing, &kept.h);
}

/// The block's output.
fn feed_forward<R: CubeRuntime>(
    geometry: &Geometry,
    [b_out, gamma, beta, w_in, b_in, w_down, b_down]: [&CubeTensor<R>; 7],
    h: &CubeTensor<R>,
    kept: &mut Kept<R>,
) -> CubeTensor<R> {
    let (client, d) = (&h.client, geometry.d_model);
    let Normed { values: normed, statistics } = &kept.feed_forward_normed;
    let (count, dim) = by_row(&kept.h);
    let [sum, bias, gamma, beta, values, moments] = [&kept.h, b_out, gamma, beta, normed, statistics].map(arg);
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
    kept.hidden = product(normed, w_in, Then::Gelu([b_in, &kept.active]), &kept.hidden);
    let [out] = empty(h, [[geometry.rows()[1], d]]);
    product(&kept.active, w_down, Then::AddStream([b_down, &kept.h]), &out)
}

/// The gradients of the inputs from that of the output.
pub(crate) fn backward<R: CubeRuntime>(
    geometry: &Geometry,
    inputs: [CubeTensor<R>; 13],
    kept: &Kept<R>,
    gradient: CubeTensor<R>,
) -> [CubeTensor<R>; 13] {
    let shapes = inputs.each_ref().map(|input| input.meta.shape().clone());
    let [gamma_1, _, w_qkv, _, w_out, _, gamma_2, _, w_in, b_in, w_down, _, h] = inputs.map(into_contiguous);
    let ([all, taken], d) = (geometry.rows(), geometry.d_model);
    let (h, gradient) = (shaped(h, &[all, d]), shaped(into_contiguous(gradient), &[taken, d]));
    let [of_attention, of_feed_forward] = room(geometry, &h);
    let (gradient, of_feed_forward) =
        feed_forward_gradient(geometry, [&gamma_2, &w_in, &b_in, &w_down], kept, gradient, of_feed_forward);
    let (gradient, of_attention) =
        attend_gradient(geometry, [&gamma_1, &w_qkv, &w_out], &h, kept, gradient, of_attention);
    let of_parameters = column_sums(of_attention.into_iter().chain(of_feed_forward).collect());
    let mut found = of_parameters.into_iter().chain([gradient]);
    shapes.map(|shape| shaped(found.next().expect("there are as many gradients as inputs"), shape.as_slice()))
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

/// The gradient of the residual stream behind attention from that of the block's output, and matrices whose column sums
/// are the gradients of the parameters: scale, shift, first weight and bias, second weight and bias.
fn feed_forward_gradient<R: CubeRuntime>(
    geometry: &Geometry,
    [gamma, w_in, b_in, w_down]: [&CubeTensor<R>; 4],
    kept: &Kept<R>,
    gradient: CubeTensor<R>,
    [of_h, of_normed, of_gamma, of_hidden, of_in, of_down]: [CubeTensor<R>; 6],
) -> (CubeTensor<R>, [CubeTensor<R>; 6]) {
    let then = Then::GeluGradient([b_in, &kept.hidden]);
    let of_hidden = product(&gradient, &transposed(w_down), then, &of_hidden);
    let of_normed = product(&of_hidden, &transposed(w_in), Then::Nothing, &of_normed);
    let Normed { values, statistics } = &kept.feed_forward_normed;
    let rows = Rows { width: geometry.d_model, tokens: 1, every: 1 };
    norm_gradient([&kept.h, statistics, gamma], &of_normed, Some(&gradient), rows, [&of_h, &of_gamma]);
    let [of_in, of_down] = [(values, &of_hidden, of_in), (&kept.active, &gradient, of_down)]
        .map(|(input, of_output, room)| product_over_rows(input, of_output, room));
    (of_h, [of_gamma, of_normed, of_in, of_hidden, of_down, gradient])
}

/// The gradient of the block's input from that of the residual stream behind attention, and matrices as of
/// [`feed_forward_gradient`].
fn attend_gradient<R: CubeRuntime>(
    geometry: &Geometry,
    [gamma, w_qkv, w_out]: [&CubeTensor<R>; 3],
    h: &CubeTensor<R>,
    kept: &Kept<R>,
    gradient: CubeTensor<R>,
    [of_h, of_normed, of_gamma, of_qkv, of_w_qkv, of_w_out]: [CubeTensor<R>; 6],
) -> (CubeTensor<R>, [CubeTensor<R>; 6]) {
    // The norm's output gets its gradient when that of what attention mixed has been used.
    let of_mixed = shaped(of_normed.clone(), kept.mixed.meta.shape().as_slice());
    let of_mixed = product(&gradient, &transposed(w_out), Then::Nothing, &of_mixed);
    let heads = geometry.heads();
    let vector = attention_cores::vector(&h.client, &heads);
    let (count, dim) = geometry.cubes(vector.is_some());
    let [qkv, mixed, log_sums, of_outputs, of_inputs] =
        [&kept.qkv, &kept.mixed, &kept.log_sums, &of_mixed, &of_qkv].map(arg);
    let kernels = [attention_gradient::launch_unchecked, attention_cores::attention_gradient::launch_unchecked];
    let launch = kernels[usize::from(vector.is_some())];
    let vector = vector.unwrap_or(heads.vector());
    #[expect(unsafe_code, reason = "no bounds are checked; the kernels stay within their shapes")]
    unsafe {
        launch(&h.client, count, dim, vector, qkv, mixed, log_sums, of_outputs, of_inputs, heads);
    }
    let of_normed = product(&of_qkv, &transposed(w_qkv), Then::Nothing, &of_normed);
    let Normed { values, statistics } = &kept.attention_normed;
    norm_gradient([h, statistics, gamma], &of_normed, Some(&gradient), geometry.written(), [&of_h, &of_gamma]);
    let [of_w_qkv, of_w_out] = [(values, &of_qkv, of_w_qkv), (&kept.mixed, &gradient, of_w_out)]
        .map(|(input, of_output, room)| product_over_rows(input, of_output, room));
    (of_h, [of_gamma, of_normed, of_w_qkv, of_qkv, of_w_out, gradient])
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
