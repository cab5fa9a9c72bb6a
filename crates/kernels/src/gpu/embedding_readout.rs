//! The embedding and the readout on a GPU.

use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::block::norm_gradient;
use super::products::{Then, parts, product, product_over_rows};
use super::rows::{Rows, moments};
use super::sums::column_sums;
use super::{arg, by_element, by_row, contiguous, empty, like, shaped};
use crate::{Embed, EmbedInputs, Linear, Norm, ReadOut, ReadOutInputs};

/// What every token reads in: the coordinates of x, or y and zeros.
///
/// # Shapes
/// `[prompts, n_points, d_x]` and `[prompts, n_points]` to `[prompts · tokens, d_x]`
#[cube(launch)]
fn interleave(
    xs: &Array<f32>,
    ys: &Array<f32>,
    read: &mut Array<f32>,
    #[comptime] d_x: usize,
    #[comptime] n_points: usize,
    #[comptime] tokens: usize,
) {
    if ABSOLUTE_POS < read.len() {
        let (row, column) = (ABSOLUTE_POS / d_x, ABSOLUTE_POS % d_x);
        let token = row % tokens;
        let pair = row / tokens * n_points + token / 2;
        let mut value = 0.0f32;
        if token % 2 == 0 {
            value = xs[pair * d_x + column];
        } else if column == 0 {
            value = ys[pair];
        }
        read[ABSOLUTE_POS] = value;
    }
}

/// values += bias + positions, `sequence` being the elements of a prompt.
#[cube(launch)]
fn add_positions(
    values: &mut Array<f32>,
    bias: &Array<f32>,
    positions: &Array<f32>,
    #[comptime] width: usize,
    #[comptime] sequence: usize,
) {
    if ABSOLUTE_POS < values.len() {
        values[ABSOLUTE_POS] += bias[ABSOLUTE_POS % width] + positions[ABSOLUTE_POS % sequence];
    }
}

/// The gradient of the positions, `sequence` being the elements of a prompt; those of tokens that it has not are zero.
#[cube(launch)]
fn sum_prompts(gradient: &Array<f32>, sums: &mut Array<f32>, #[comptime] sequence: usize) {
    if ABSOLUTE_POS < sums.len() {
        let mut sum = 0.0f32;
        if ABSOLUTE_POS < sequence {
            for prompt in 0..gradient.len() / sequence {
                sum += gradient[prompt * sequence + ABSOLUTE_POS];
            }
        }
        sums[ABSOLUTE_POS] = sum;
    }
}

/// The residual stream at layer 0, and what the tokens read in.
pub(crate) fn embed<R: CubeRuntime>(
    embed: &Embed,
    inputs: EmbedInputs<CubeTensor<R>>,
) -> (CubeTensor<R>, CubeTensor<R>) {
    let EmbedInputs { linear: Linear { weight, bias }, positions, xs, ys } = contiguous(inputs);
    let (client, d_x, n_points) = (weight.client.clone(), weight.meta.shape()[0], ys.meta.shape()[1]);
    let Embed { prompts, tokens, d_model } = *embed;
    let [read, out] = empty(&weight, [[prompts * tokens, d_x], [prompts * tokens, d_model]]);
    let (count, dim) = by_element(&read);
    interleave::launch(&client, count, dim, arg(&xs), arg(&ys), arg(&read), d_x, n_points, tokens);
    let out = product(&read, &weight, Then::Nothing, &out);
    let (count, dim) = by_element(&out);
    let [values, bias, positions] = [&out, &bias, &positions].map(arg);
    add_positions::launch(&client, count, dim, values, bias, positions, d_model, tokens * d_model);
    (shaped(out, &[prompts, tokens, d_model]), read)
}

/// The gradients of the read-in's weight and bias and of the positions.
pub(crate) fn embed_gradient<R: CubeRuntime>(
    embed: &Embed,
    EmbedInputs { linear, positions, .. }: EmbedInputs<CubeTensor<R>>,
    read: &CubeTensor<R>,
    gradient: CubeTensor<R>,
) -> (Linear<CubeTensor<R>>, CubeTensor<R>) {
    let Embed { prompts, tokens, d_model } = *embed;
    let gradient = shaped(into_contiguous(gradient), &[prompts * tokens, d_model]);
    let d_x = read.meta.shape()[1];
    let of_weight = [parts([d_x, d_model], prompts), d_x * d_model];
    let [of_positions, of_weight] = empty(&gradient, [[positions.meta.shape()[0], d_model], of_weight]);
    let (count, dim) = by_element(&of_positions);
    sum_prompts::launch(&gradient.client, count, dim, arg(&gradient), arg(&of_positions), tokens * d_model);
    let of_weight = product_over_rows(read, &gradient, of_weight);
    let sums = column_sums(vec![of_weight, of_positions.clone()]);
    let [weight, bias] = sums.try_into().expect("there are as many sums as matrices");
    let linear = Linear { weight: like(&linear.weight, weight), bias: like(&linear.bias, bias) };
    (linear, like(&positions, of_positions))
}

/// weight · (the layer norm of a row) + bias; keeps the mean and 1/σ of every row.
#[cube(launch)]
fn read_row(
    h: &Array<f32>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    weight: &Array<f32>,
    bias: &Array<f32>,
    predictions: &mut Array<f32>,
    statistics: &mut Array<f32>,
    #[comptime] width: usize,
) {
    let row = CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize;
    if row < predictions.len() {
        let (mean, inverse) = moments(h, row * width, width);
        let mut sum = 0.0f32;
        let mut column = UNIT_POS_X as usize;
        while column < width {
            let standard = (h[row * width + column] - mean) * inverse;
            sum += (standard * gamma[column] + beta[column]) * weight[column];
            column += CUBE_DIM_X as usize;
        }
        let sum = plane_sum(sum);
        if UNIT_POS_X == 0 {
            predictions[row] = sum + bias[0];
            statistics[2 * row] = mean;
            statistics[2 * row + 1] = inverse;
        }
    }
}

/// From the gradients of the predictions: those of the norm's output, and what every row adds to that of the weight.
#[cube(launch)]
fn read_row_gradient(
    h: &Array<f32>,
    statistics: &Array<f32>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    weight: &Array<f32>,
    gradient: &Array<f32>,
    of_normed: &mut Array<f32>,
    of_weight: &mut Array<f32>,
    #[comptime] width: usize,
) {
    if ABSOLUTE_POS < h.len() {
        let (row, column) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
        let standard = (h[ABSOLUTE_POS] - statistics[2 * row]) * statistics[2 * row + 1];
        of_normed[ABSOLUTE_POS] = gradient[row] * weight[column];
        of_weight[ABSOLUTE_POS] = gradient[row] * (standard * gamma[column] + beta[column]);
    }
}

/// The predictions, and the mean and 1/σ of every row.
pub(crate) fn read_out<R: CubeRuntime>(
    read_out: &ReadOut,
    inputs: ReadOutInputs<CubeTensor<R>>,
) -> (CubeTensor<R>, CubeTensor<R>) {
    let ReadOutInputs { norm: Norm { gamma, beta }, linear: Linear { weight, bias }, h } = contiguous(inputs);
    let (rows, d) = (read_out.shape.iter().product(), gamma.meta.shape()[0]);
    let [predictions, statistics] = empty(&h, [[rows, 1], [rows, 2]]);
    let h = shaped(h, &[rows, d]);
    let (count, dim) = by_row(&h);
    let [states, gamma, beta, weight, bias, out, moments] =
        [&h, &gamma, &beta, &weight, &bias, &predictions, &statistics].map(arg);
    read_row::launch(&h.client, count, dim, states, gamma, beta, weight, bias, out, moments, d);
    (shaped(predictions, &read_out.shape), statistics)
}

/// The gradients of the norm's scale and shift, of the read-out's weight and bias, and of the residual stream.
pub(crate) fn read_out_gradient<R: CubeRuntime>(
    inputs: ReadOutInputs<CubeTensor<R>>,
    statistics: &CubeTensor<R>,
    gradient: CubeTensor<R>,
) -> ReadOutInputs<CubeTensor<R>> {
    let ReadOutInputs { norm: Norm { gamma, beta }, linear: Linear { weight, bias }, h: states } = contiguous(inputs);
    let (rows, d) = (statistics.meta.shape()[0], gamma.meta.shape()[0]);
    let (h, gradient) = (shaped(states.clone(), &[rows, d]), shaped(into_contiguous(gradient), &[rows, 1]));
    let [of_normed, of_weight, of_h, of_gamma] = empty(&h, [[rows, d]; 4]);
    let (count, dim) = by_element(&h);
    let [rows_of_h, moments, scale, shift, factors, of_predictions, of_norm, of_map] =
        [&h, statistics, &gamma, &beta, &weight, &gradient, &of_normed, &of_weight].map(arg);
    read_row_gradient::launch(
        &h.client,
        count,
        dim,
        rows_of_h,
        moments,
        scale,
        shift,
        factors,
        of_predictions,
        of_norm,
        of_map,
        d,
    );
    let rows = Rows { width: d, tokens: 1, every: 1 };
    norm_gradient([&h, statistics, &gamma], &of_normed, None, rows, [&of_h, &of_gamma]);
    let sums = column_sums(vec![of_gamma, of_normed, of_weight, gradient]);
    let [of_gamma, of_beta, of_weight, of_bias] = sums.try_into().expect("there are as many sums as matrices");
    ReadOutInputs {
        norm: Norm { gamma: like(&gamma, of_gamma), beta: like(&beta, of_beta) },
        linear: Linear { weight: like(&weight, of_weight), bias: like(&bias, of_bias) },
        h: like(&states, of_h),
    }
}
