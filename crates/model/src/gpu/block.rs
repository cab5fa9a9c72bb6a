//! A block, forward and backward.

use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::attention::{Heads, attention, attention_gradient};
use super::rows::{self, Rows};
use super::sums::column_sums;
use super::{arg, by_element, by_row, empty, product, product_over_rows, shaped, transposed};
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
        let [values, statistics, qkv, mixed, log_sums] = empty(like, of_attention);
        let attention_normed = Normed { values, statistics };
        let [h, values, statistics, hidden, active] = empty(like, of_feed_forward);
        let feed_forward_normed = Normed { values, statistics };
        Self { attention_normed, qkv, mixed, log_sums, h, feed_forward_normed, hidden, active }
    }
}

impl Geometry {
    fn heads(&self) -> Heads {
        let d_head = self.d_model / self.n_heads;
        Heads { tokens: self.tokens, n_heads: self.n_heads, d_head, every: self.every }
    }

    /// Cubes of attention: one a head of a sequence, with a unit for every token where it can have as many.
    fn cubes(&self) -> (CubeCount, CubeDim) {
        let units = self.tokens.next_multiple_of(32).min(256);
        (CubeCount::Static(self.sequences as u32, self.n_heads as u32, 1), CubeDim::new_1d(units as u32))
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
    kept.qkv = product(normed, w_qkv, &kept.qkv);
    let (count, dim) = by_element(&kept.qkv);
    rows::add_bias::launch(client, count, dim, arg(&kept.qkv), arg(b_qkv), 3 * d);
    let (count, dim) = geometry.cubes();
    let (heads, [qkv, mixed, log_sums]) = (geometry.heads(), [&kept.qkv, &kept.mixed, &kept.log_sums].map(arg));
    #[expect(unsafe_code, reason = "no bounds are checked; the kernel stays within its shapes")]
    unsafe {
        attention::launch_unchecked(client, count, dim, heads.vector(), qkv, mixed, log_sums, heads);
    }
    kept.h = product(&kept.mixed, w_out, &kept.h);
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
    kept.hidden = product(normed, w_in, &kept.hidden);
    let (count, dim) = by_element(&kept.hidden);
    let [hidden, bias, active] = [&kept.hidden, b_in, &kept.active].map(arg);
    rows::bias_gelu::launch(client, count, dim, hidden, bias, active, 4 * d);
    let [out] = empty(h, [[geometry.rows()[1], d]]);
    let out = product(&kept.active, w_down, &out);
    let (count, dim) = by_element(&out);
    rows::add_stream::launch(client, count, dim, arg(&kept.h), arg(b_down), arg(&out), d);
    out
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
    let (gradient, of_feed_forward) =
        feed_forward_gradient(geometry, [&gamma_2, &w_in, &b_in, &w_down], kept, gradient);
    let (gradient, of_attention) = attend_gradient(geometry, [&gamma_1, &w_qkv, &w_out], &h, kept, gradient);
    let of_parameters = column_sums(of_attention.into_iter().chain(of_feed_forward).collect());
    let mut found = of_parameters.into_iter().chain([gradient]);
    shapes.map(|shape| shaped(found.next().expect("there are as many gradients as inputs"), shape.as_slice()))
}

/// The gradient of the residual stream behind attention from that of the block's output, and matrices whose column sums
/// are the gradients of the parameters: scale, shift, first weight and bias, second weight and bias.
fn feed_forward_gradient<R: CubeRuntime>(
    geometry: &Geometry,
    [gamma, w_in, b_in, w_down]: [&CubeTensor<R>; 4],
    kept: &Kept<R>,
    gradient: CubeTensor<R>,
) -> (CubeTensor<R>, [CubeTensor<R>; 6]) {
    let ([_, taken], d) = (geometry.rows(), geometry.d_model);
    let [of_hidden, of_normed] = empty(&gradient, [[taken, 4 * d], [taken, d]]);
    let of_hidden = product(&gradient, &transposed(w_down), &of_hidden);
    let (count, dim) = by_element(&of_hidden);
    let [hidden, bias] = [&kept.hidden, b_in].map(arg);
    rows::bias_gelu_gradient::launch(&gradient.client, count, dim, hidden, bias, arg(&of_hidden), 4 * d);
    let of_normed = product(&of_hidden, &transposed(w_in), &of_normed);
    let Normed { values, statistics } = &kept.feed_forward_normed;
    let rows = Rows { width: d, tokens: 1, every: 1 };
    let (of_h, of_gamma) = norm_gradient([&kept.h, statistics, gamma], &of_normed, Some(&gradient), rows);
    let [of_in, of_down] = [(values, &of_hidden), (&kept.active, &gradient)]
        .map(|(input, of_output)| product_over_rows(input, of_output, geometry.sequences));
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
) -> (CubeTensor<R>, [CubeTensor<R>; 6]) {
    let ([all, taken], d) = (geometry.rows(), geometry.d_model);
    let [of_mixed, of_qkv, of_normed] = empty(h, [[taken, d], [all, 3 * d], [all, d]]);
    let of_mixed = product(&gradient, &transposed(w_out), &of_mixed);
    let (count, dim) = geometry.cubes();
    let (heads, [inputs, outputs, log_sums, of_outputs, of_inputs]) =
        (geometry.heads(), [&kept.qkv, &kept.mixed, &kept.log_sums, &of_mixed, &of_qkv].map(arg));
    #[expect(unsafe_code, reason = "no bounds are checked; the kernel stays within its shapes")]
    unsafe {
        attention_gradient::launch_unchecked(
            &h.client,
            count,
            dim,
            heads.vector(),
            inputs,
            outputs,
            log_sums,
            of_outputs,
            of_inputs,
            heads,
        );
    }
    let of_normed = product(&of_qkv, &transposed(w_qkv), &of_normed);
    let Normed { values, statistics } = &kept.attention_normed;
    let (of_h, of_gamma) = norm_gradient([h, statistics, gamma], &of_normed, Some(&gradient), geometry.written());
    let [of_w_qkv, of_w_out] = [(values, &of_qkv), (&kept.mixed, &gradient)]
        .map(|(input, of_output)| product_over_rows(input, of_output, geometry.sequences));
    (of_h, [of_gamma, of_normed, of_w_qkv, of_qkv, of_w_out, gradient])
}

/// The gradient of a norm's input from that of its output, plus what the rows that are written have already, and a
/// matrix whose column sums are the gradient of its scale.
pub(super) fn norm_gradient<R: CubeRuntime>(
    [h, statistics, gamma]: [&CubeTensor<R>; 3],
    gradient: &CubeTensor<R>,
    written: Option<&CubeTensor<R>>,
    rows: Rows,
) -> (CubeTensor<R>, CubeTensor<R>) {
    let shape = [h.meta.shape()[0], rows.width];
    let ([of_h], [of_gamma]) = (empty(h, [shape]), empty(h, [shape]));
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
        arg(&of_h),
        arg(&of_gamma),
        rows,
        adds,
    );
    (of_h, of_gamma)
}
