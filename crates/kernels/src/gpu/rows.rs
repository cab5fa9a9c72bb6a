//! Kernels on matrices of tokens, `[rows, width]`: a row a plane where a row is summed, an element a unit elsewhere.

use cubecl::prelude::*;

use crate::NORM_EPSILON;

/// Which rows of the input an output has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    /// Elements of a row.
    pub(super) width: usize,
    /// Rows of a sequence of the input.
    pub(super) tokens: usize,
    /// Rows from one that is taken to the next; the first is one.
    pub(super) every: usize,
}

impl Rows {
    /// Rows of a sequence of the output.
    pub(super) fn taken(&self) -> usize {
        self.tokens.div_ceil(self.every)
    }
}

/// The row of the input that becomes `row` of the output.
#[cube]
fn source(row: usize, #[comptime] rows: Rows) -> usize {
    let taken = comptime!(rows.taken());
    (row / taken) * rows.tokens + (row % taken) * rows.every
}

/// The mean and 1/σ of a row, known to every unit of its plane.
#[cube]
pub(super) fn moments(values: &Array<f32>, first: usize, #[comptime] width: usize) -> (f32, f32) {
    let count = comptime!(width as f32);
    let mut sum = 0.0f32;
    let mut column = UNIT_POS_X as usize;
    while column < width {
        sum += values[first + column];
        column += CUBE_DIM_X as usize;
    }
    let mean = plane_sum(sum) / count;
    let mut squares = 0.0f32;
    let mut column = UNIT_POS_X as usize;
    while column < width {
        let off = values[first + column] - mean;
        squares += off * off;
        column += CUBE_DIM_X as usize;
    }
    (mean, f32::inverse_sqrt(plane_sum(squares) / count + comptime!(NORM_EPSILON as f32)))
}

/// The layer norm of a row, and its mean and 1/σ.
#[cube]
fn normalise(
    values: &Array<f32>,
    row: usize,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    normed: &mut Array<f32>,
    statistics: &mut Array<f32>,
    #[comptime] width: usize,
) {
    let (mean, inverse) = moments(values, row * width, width);
    let mut column = UNIT_POS_X as usize;
    while column < width {
        let at = row * width + column;
        normed[at] = (values[at] - mean) * inverse * gamma[column] + beta[column];
        column += CUBE_DIM_X as usize;
    }
    if UNIT_POS_X == 0 {
        statistics[2 * row] = mean;
        statistics[2 * row + 1] = inverse;
    }
}

/// Layer norm. Keeps the mean and 1/σ of every row.
///
/// # Source
/// Ba, Kiros and Hinton (2016), arXiv 1607.06450.
#[cube(launch)]
pub(super) fn layer_norm(
    h: &Array<f32>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    normed: &mut Array<f32>,
    statistics: &mut Array<f32>,
    #[comptime] width: usize,
) {
    let row = CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize;
    if row * width < h.len() {
        normalise(h, row, gamma, beta, normed, statistics, width);
    }
}

/// sum += h + bias, at the rows that are taken, and the [`layer_norm`] of that.
#[cube(launch)]
pub(super) fn add_layer_norm(
    h: &Array<f32>,
    bias: &Array<f32>,
    gamma: &Array<f32>,
    beta: &Array<f32>,
    sum: &mut Array<f32>,
    normed: &mut Array<f32>,
    statistics: &mut Array<f32>,
    #[comptime] rows: Rows,
) {
    let width = comptime!(rows.width);
    let row = CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize;
    if row * width < sum.len() {
        let (to, from) = (row * width, source(row, rows) * width);
        let mut column = UNIT_POS_X as usize;
        while column < width {
            sum[to + column] += h[from + column] + bias[column];
            column += CUBE_DIM_X as usize;
        }
        normalise(sum, row, gamma, beta, normed, statistics, width);
    }
}

/// The gradient of a layer norm's input from that of its output, if it `adds`, plus the gradient that the taken rows have
/// already; and what every row adds to the gradient of the scale.
#[cube(launch)]
pub(super) fn layer_norm_gradient(
    h: &Array<f32>,
    statistics: &Array<f32>,
    gamma: &Array<f32>,
    gradient: &Array<f32>,
    taken_gradient: &Array<f32>,
    of_h: &mut Array<f32>,
    of_gamma: &mut Array<f32>,
    #[comptime] rows: Rows,
    #[comptime] adds: bool,
) {
    let (width, taken, count) = comptime!((rows.width, rows.taken(), rows.width as f32));
    let row = CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize;
    if row * width < h.len() {
        let at = row * width;
        let (mean, inverse) = (statistics[2 * row], statistics[2 * row + 1]);
        let mut sum = 0.0f32;
        let mut weighed = 0.0f32;
        let mut column = UNIT_POS_X as usize;
        while column < width {
            let along = gradient[at + column] * (h[at + column] - mean) * inverse;
            of_gamma[at + column] = along;
            sum += gradient[at + column] * gamma[column];
            weighed += along * gamma[column];
            column += CUBE_DIM_X as usize;
        }
        let (sum, weighed) = (plane_sum(sum) / count, plane_sum(weighed) / count);
        let token = row % rows.tokens;
        let from = ((row / rows.tokens) * taken + token / rows.every) * width;
        let mut column = UNIT_POS_X as usize;
        while column < width {
            let standard = (h[at + column] - mean) * inverse;
            let mut found = (gradient[at + column] * gamma[column] - sum - standard * weighed) * inverse;
            if adds && token % rows.every == 0 {
                found += taken_gradient[from + column];
            }
            of_h[at + column] = found;
            column += CUBE_DIM_X as usize;
        }
    }
}

/// values += bias, in every row.
#[cube(launch)]
pub(super) fn add_bias(values: &mut Array<f32>, bias: &Array<f32>, #[comptime] width: usize) {
    if ABSOLUTE_POS < values.len() {
        values[ABSOLUTE_POS] += bias[ABSOLUTE_POS % width];
    }
}

/// sum += h + bias, in every row.
#[cube(launch)]
pub(super) fn add_stream(h: &Array<f32>, bias: &Array<f32>, sum: &mut Array<f32>, #[comptime] width: usize) {
    if ABSOLUTE_POS < sum.len() {
        sum[ABSOLUTE_POS] += h[ABSOLUTE_POS] + bias[ABSOLUTE_POS % width];
    }
}

/// σ(2√(2/π)(x + 0.044715x³)), by which x is multiplied in its GELU, and the derivative of what it is applied to.
#[cube]
fn gate(x: f32) -> (f32, f32) {
    let scale = comptime!((8.0f64 / std::f64::consts::PI).sqrt());
    let (linear, cubic) = comptime!((scale as f32, (scale * 0.044715) as f32));
    let gate = 1.0f32 / (1.0f32 + (-x * (linear + cubic * x * x)).exp());
    (gate, linear + 3.0f32 * cubic * x * x)
}

/// GELU, in its tanh form.
///
/// # Source
/// Hendrycks and Gimpel (2016), arXiv 1606.08415.
#[cube]
pub(super) fn gelu(x: f32) -> f32 {
    let (gate, _) = gate(x);
    x * gate
}

/// The derivative of [`gelu`].
#[cube]
pub(super) fn gelu_slope(x: f32) -> f32 {
    let (gate, slope) = gate(x);
    gate + x * gate * (1.0f32 - gate) * slope
}

/// GELU of values + bias.
#[cube(launch)]
pub(super) fn bias_gelu(values: &Array<f32>, bias: &Array<f32>, active: &mut Array<f32>, #[comptime] width: usize) {
    if ABSOLUTE_POS < values.len() {
        active[ABSOLUTE_POS] = gelu(values[ABSOLUTE_POS] + bias[ABSOLUTE_POS % width]);
    }
}

/// The gradient of values + bias from that of their GELU.
#[cube(launch)]
pub(super) fn bias_gelu_gradient(
    values: &Array<f32>,
    bias: &Array<f32>,
    gradient: &mut Array<f32>,
    #[comptime] width: usize,
) {
    if ABSOLUTE_POS < values.len() {
        gradient[ABSOLUTE_POS] *= gelu_slope(values[ABSOLUTE_POS] + bias[ABSOLUTE_POS % width]);
    }
}
