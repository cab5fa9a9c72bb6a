//! A block, forward and backward.

use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::attention::{Heads, attention, attention_gradient};
use super::rows::{self, Rows};
use super::{by_element, by_row, column_sums, empty, product, product_over_rows, shaped, sum_columns, transposed};
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

impl<R: CubeRuntime> Normed<R> {
    fn empty(like: &CubeTensor<R>, rows: usize, width: usize) -> Self {
        Self { values: empty(like, &[rows, width]), statistics: empty(like, &[rows, 2]) }
    }

    fn args(&self) -> [ArrayArg<R>; 2] {
        [&self.values, &self.statistics].map(arg)
    }
}

fn arg<R: CubeRuntime>(tensor: &CubeTensor<R>) -> ArrayArg<R> {
    tensor.clone().into_array_arg()
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

    fn rows(&self) -> [usize; 2] {
        [self.sequences * self.tokens, self.sequences * self.outputs()]
    }
}

/// The block's output, and what its gradient needs.
pub(crate) fn forward<R: CubeRuntime>(geometry: &Geometry, inputs: [CubeTensor<R>; 13]) -> (CubeTensor<R>, Kept<R>) {
    let [gamma_1, beta_1, w_qkv, b_qkv, w_out, b_out, gamma_2, beta_2, w_in, b_in, w_down, b_down, h] =
        inputs.map(into_contiguous);
    let (d, client) = (geometry.d_model, h.client.clone());
    let [all, taken] = geometry.rows();
    let h = shaped(h, &[all, d]);

    let attention_normed = Normed::empty(&h, all, d);
    let (count, dim) = by_row(&h);
    let [values, statistics] = attention_normed.args();
    rows::layer_norm::launch(&client, count, dim, arg(&h), arg(&gamma_1), arg(&beta_1), values, statistics, d);
    let qkv = product(&attention_normed.values, &w_qkv);
    let (count, dim) = by_element(&qkv);
    rows::add_bias::launch(&client, count, dim, arg(&qkv), arg(&b_qkv), 3 * d);
    let (mixed, log_sums) = (empty(&h, &[taken, d]), empty(&h, &[taken, geometry.n_heads]));
    let (count, dim) = geometry.cubes();
    #[expect(unsafe_code, reason = "no bounds are checked; the kernel stays within its shapes")]
    unsafe {
        attention::launch_unchecked(
            &client,
            count,
            dim,
            geometry.heads().vector(),
            arg(&qkv),
            arg(&mixed),
            arg(&log_sums),
            geometry.heads(),
        );
    }

    let write = product(&mixed, &w_out);
    let (seen, behind, feed_forward_normed) = (h, empty(&write, &[taken, d]), Normed::empty(&write, taken, d));
    let (count, dim) = by_row(&behind);
    let [values, statistics] = feed_forward_normed.args();
    let [h, write, bias, gamma, beta] = [&seen, &write, &b_out, &gamma_2, &beta_2].map(arg);
    let rows = Rows { width: d, tokens: geometry.tokens, every: geometry.every };
    rows::add_layer_norm::launch(
        &client,
        count,
        dim,
        h,
        write,
        bias,
        gamma,
        beta,
        arg(&behind),
        values,
        statistics,
        rows,
    );

    let hidden = product(&feed_forward_normed.values, &w_in);
    let active = empty(&hidden, &[taken, 4 * d]);
    let (count, dim) = by_element(&hidden);
    rows::bias_gelu::launch(&client, count, dim, arg(&hidden), arg(&b_in), arg(&active), 4 * d);
    let write = product(&active, &w_down);
    let out = empty(&write, &[geometry.sequences, geometry.outputs(), d]);
    let (count, dim) = by_element(&out);
    rows::add_write::launch(&client, count, dim, arg(&behind), arg(&write), arg(&b_down), arg(&out), d);
    let kept = Kept { attention_normed, qkv, mixed, log_sums, h: behind, feed_forward_normed, hidden, active };
    (out, kept)
}

/// The gradients of the inputs from that of the output.
pub(crate) fn backward<R: CubeRuntime>(
    geometry: &Geometry,
    inputs: [CubeTensor<R>; 13],
    kept: &Kept<R>,
    gradient: CubeTensor<R>,
) -> [CubeTensor<R>; 13] {
    let [gamma_1, _, w_qkv, _, w_out, _, gamma_2, _, w_in, b_in, w_down, _, h] = inputs.map(into_contiguous);
    let (d, client) = (geometry.d_model, h.client.clone());
    let [all, taken] = geometry.rows();
    let h = shaped(h, &[all, d]);
    let gradient = shaped(into_contiguous(gradient), &[taken, d]);

    let over_rows = |a: &_, b: &_| product_over_rows(a, b, geometry.sequences);
    let hidden_gradient = product(&gradient, &transposed(&w_down));
    let (count, dim) = by_element(&hidden_gradient);
    let [hidden, bias] = [&kept.hidden, &b_in].map(arg);
    rows::bias_gelu_gradient::launch(&client, count, dim, hidden, bias, arg(&hidden_gradient), 4 * d);
    let of_down = [over_rows(&kept.active, &gradient), column_sums(&gradient)];
    let of_in = [over_rows(&kept.feed_forward_normed.values, &hidden_gradient), column_sums(&hidden_gradient)];
    let normed = product(&hidden_gradient, &transposed(&w_in));
    let rows = Rows { width: d, tokens: 1, every: 1 };
    let statistics = &kept.feed_forward_normed.statistics;
    let (gradient, of_norm_2) = norm_gradient(&kept.h, statistics, &gamma_2, &normed, &gradient, rows);

    let mixed = product(&gradient, &transposed(&w_out));
    let of_out = [over_rows(&kept.mixed, &gradient), column_sums(&gradient)];
    let qkv = empty(&h, &[all, 3 * d]);
    let (count, dim) = geometry.cubes();
    let [inputs, outputs, log_sums] = [&kept.qkv, &kept.mixed, &kept.log_sums].map(arg);
    #[expect(unsafe_code, reason = "no bounds are checked; the kernel stays within its shapes")]
    unsafe {
        attention_gradient::launch_unchecked(
            &client,
            count,
            dim,
            geometry.heads().vector(),
            inputs,
            outputs,
            log_sums,
            arg(&mixed),
            arg(&qkv),
            geometry.heads(),
        );
    }
    let of_qkv = [over_rows(&kept.attention_normed.values, &qkv), column_sums(&qkv)];
    let normed = product(&qkv, &transposed(&w_qkv));
    let rows = Rows { width: d, tokens: geometry.tokens, every: geometry.every };
    let statistics = &kept.attention_normed.statistics;
    let (gradient, of_norm_1) = norm_gradient(&h, statistics, &gamma_1, &normed, &gradient, rows);

    let of_parameters = [of_norm_1, of_qkv, of_out, of_norm_2, of_in, of_down].into_iter().flatten();
    let mut found = of_parameters.chain([shaped(gradient, &[geometry.sequences, geometry.tokens, d])]);
    std::array::from_fn(|_| found.next().expect("there are as many gradients as inputs"))
}

/// The gradients of a norm's input, with what the taken rows have already, and of its scale and shift.
fn norm_gradient<R: CubeRuntime>(
    h: &CubeTensor<R>,
    statistics: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    gradient: &CubeTensor<R>,
    taken: &CubeTensor<R>,
    rows: Rows,
) -> (CubeTensor<R>, [CubeTensor<R>; 2]) {
    let found = empty(h, &[h.meta.shape()[0], rows.width]);
    let (count, dim) = by_row(h);
    let inputs = [h, statistics, gamma, gradient, taken].map(arg);
    let [states, moments, scale, behind, beside] = inputs;
    rows::layer_norm_gradient::launch(&h.client, count, dim, states, moments, scale, behind, beside, arg(&found), rows);
    let of_gamma = sum_columns(h, |client, count, dim, sums, at_a_time| {
        let [h, statistics, gradient] = [h, statistics, gradient].map(arg);
        rows::scale_sums::launch(client, count, dim, h, statistics, gradient, sums, at_a_time, rows.width);
    });
    (found, [of_gamma, column_sums(gradient)])
}
