//! A block's parameters, and the scale and shift of its norms inside the linear maps behind them.

use pulp::Simd;

use super::buffer::Buffer;
use super::kernels::{add_scaled, dot, scale};

/// One thing for every parameter of a block: its values `[fan_in, fan_out]`, or their gradients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters<T> {
    pub(super) attention_norm: Norm<T>,
    pub(super) query_key_value: Linear<T>,
    pub(super) attention_out: Linear<T>,
    pub(super) feed_forward_norm: Norm<T>,
    pub(super) feed_forward_in: Linear<T>,
    pub(super) feed_forward_out: Linear<T>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Norm<T> {
    pub(super) gamma: T,
    pub(super) beta: T,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Linear<T> {
    pub(super) weight: T,
    pub(super) bias: T,
}

impl<T> Parameters<T> {
    /// In the order of the fields, and what comes behind them.
    pub(super) fn split([a, b, c, d, e, f, g, h, i, j, k, l, rest]: [T; 13]) -> (Self, T) {
        let parameters = Self {
            attention_norm: Norm { gamma: a, beta: b },
            query_key_value: Linear { weight: c, bias: d },
            attention_out: Linear { weight: e, bias: f },
            feed_forward_norm: Norm { gamma: g, beta: h },
            feed_forward_in: Linear { weight: i, bias: j },
            feed_forward_out: Linear { weight: k, bias: l },
        };
        (parameters, rest)
    }

    /// The inverse of [`split`](Self::split).
    pub(super) fn join(self, rest: T) -> [T; 13] {
        let Norm { gamma: a, beta: b } = self.attention_norm;
        let Linear { weight: c, bias: d } = self.query_key_value;
        let Linear { weight: e, bias: f } = self.attention_out;
        let Norm { gamma: g, beta: h } = self.feed_forward_norm;
        let Linear { weight: i, bias: j } = self.feed_forward_in;
        let Linear { weight: k, bias: l } = self.feed_forward_out;
        [a, b, c, d, e, f, g, h, i, j, k, l, rest]
    }
}

impl Parameters<Vec<f32>> {
    /// Of a block of width `d`.
    pub(super) fn zeros(d: usize) -> Self {
        let shapes = [d, d, 3 * d * d, 3 * d, d * d, d, d, d, 4 * d * d, 4 * d, 4 * d * d, d];
        let [a, b, c, e, f, g, h, i, j, k, l, m] = shapes.map(|len| vec![0.0; len]);
        Self::split([a, b, c, e, f, g, h, i, j, k, l, m, Vec::new()]).0
    }
}

/// The linear maps behind the norms, with the norms' scale and shift, and the attention's scale, inside: so they cost
/// nothing per token.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) query_key_value: Linear<Buffer>,
    pub(super) feed_forward_in: Linear<Buffer>,
}

impl Folded {
    /// Queries are scaled by `attention_scale`.
    #[inline(always)]
    pub(super) fn new<S: Simd>(simd: S, parameters: &Parameters<&[f32]>, attention_scale: f32) -> Self {
        let mut query_key_value = fold(simd, parameters.attention_norm, parameters.query_key_value);
        let Linear { weight, bias } = &mut query_key_value;
        scale_queries(simd, weight, bias, attention_scale);
        Self { query_key_value, feed_forward_in: fold(simd, parameters.feed_forward_norm, parameters.feed_forward_in) }
    }
}

/// (n·γ + β) W + b = n (γ·W) + (βW + b)
#[inline(always)]
fn fold<S: Simd>(simd: S, norm: Norm<&[f32]>, linear: Linear<&[f32]>) -> Linear<Buffer> {
    let (mut weight, mut bias) = (Buffer::new(linear.weight.len()), Buffer::new(linear.bias.len()));
    let fan_out = bias.len();
    weight.copy_from_slice(linear.weight);
    bias.copy_from_slice(linear.bias);
    for (i, row) in weight.chunks_exact_mut(fan_out).enumerate() {
        add_scaled(simd, &mut bias, row, norm.beta[i]);
        scale(simd, row, norm.gamma[i]);
    }
    Linear { weight, bias }
}

#[inline(always)]
fn scale_queries<S: Simd>(simd: S, weight: &mut [f32], bias: &mut [f32], factor: f32) {
    let fan_out = bias.len();
    for row in weight.chunks_exact_mut(fan_out).chain([bias]) {
        scale(simd, &mut row[..fan_out / 3], factor);
    }
}

/// Turns the gradients of the folded maps into those of the norms and the maps themselves.
#[inline(always)]
pub(super) fn unfold<S: Simd>(
    simd: S,
    parameters: &Parameters<&[f32]>,
    attention_scale: f32,
    gradients: &mut Parameters<Vec<f32>>,
) {
    let Parameters { attention_norm, query_key_value, feed_forward_norm, feed_forward_in, .. } = gradients;
    scale_queries(simd, &mut query_key_value.weight, &mut query_key_value.bias, attention_scale);
    unfold_one(simd, parameters.attention_norm, parameters.query_key_value, attention_norm, query_key_value);
    unfold_one(simd, parameters.feed_forward_norm, parameters.feed_forward_in, feed_forward_norm, feed_forward_in);
}

#[inline(always)]
fn unfold_one<S: Simd>(
    simd: S,
    norm: Norm<&[f32]>,
    linear: Linear<&[f32]>,
    of_norm: &mut Norm<Vec<f32>>,
    of_linear: &mut Linear<Vec<f32>>,
) {
    let fan_out = linear.bias.len();
    let rows = of_linear.weight.chunks_exact_mut(fan_out).zip(linear.weight.chunks_exact(fan_out));
    for (i, (gradient, weight)) in rows.enumerate() {
        of_norm.gamma[i] = dot(simd, gradient, weight);
        of_norm.beta[i] = dot(simd, &of_linear.bias, weight);
        scale(simd, gradient, norm.gamma[i]);
        add_scaled(simd, gradient, &of_linear.bias, norm.beta[i]);
    }
}
