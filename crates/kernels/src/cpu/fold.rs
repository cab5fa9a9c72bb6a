//! The scale and shift of a block's norms inside the linear maps behind them.

use pulp::Simd;

use super::buffer::Buffer;
use super::rows::{add_scaled, dot, scale};
use crate::{BlockWeights, Linear, Norm};

/// Gradients of no content as yet, of a block of width `d`.
pub(super) fn zeros(d: usize) -> BlockWeights<Vec<f32>> {
    let norm = || Norm { gamma: vec![0.0; d], beta: vec![0.0; d] };
    let linear = |from: usize, to: usize| Linear { weight: vec![0.0; from * to], bias: vec![0.0; to] };
    BlockWeights {
        attention_norm: norm(),
        query_key_value: linear(d, 3 * d),
        attention_out: linear(d, d),
        feed_forward_norm: norm(),
        feed_forward_in: linear(d, 4 * d),
        feed_forward_out: linear(4 * d, d),
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
    pub(super) fn new<S: Simd>(simd: S, weights: &BlockWeights<&[f32]>, attention_scale: f32) -> Self {
        let mut query_key_value = fold(simd, weights.attention_norm, weights.query_key_value);
        let Linear { weight, bias } = &mut query_key_value;
        scale_queries(simd, weight, bias, attention_scale);
        Self { query_key_value, feed_forward_in: fold(simd, weights.feed_forward_norm, weights.feed_forward_in) }
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
    weights: &BlockWeights<&[f32]>,
    attention_scale: f32,
    gradients: &mut BlockWeights<Vec<f32>>,
) {
    let BlockWeights { attention_norm, query_key_value, feed_forward_norm, feed_forward_in, .. } = gradients;
    scale_queries(simd, &mut query_key_value.weight, &mut query_key_value.bias, attention_scale);
    unfold_one(simd, weights.attention_norm, weights.query_key_value, attention_norm, query_key_value);
    unfold_one(simd, weights.feed_forward_norm, weights.feed_forward_in, feed_forward_norm, feed_forward_in);
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
