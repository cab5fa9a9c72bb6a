//! The embedding and the readout on a CPU's slices.

use pulp::{Arch, Simd, WithSimd};

use super::buffer::Buffer;
use super::rows::{add, add_normalise_gradient, add_rows, add_scaled, dot, multiply, normalise};
use crate::{Embed, EmbedInputs, Linear, Norm, ReadOutInputs};

impl Embed {
    /// What the token at a row of the result reads in: the coordinates of x, or y alone.
    #[inline(always)]
    fn read<'a>(&self, row: usize, xs: &'a [f32], ys: &'a [f32]) -> &'a [f32] {
        let (n_points, d_x) = (ys.len() / self.prompts, xs.len() / ys.len());
        let (prompt, token) = (row / self.tokens, row % self.tokens);
        let pair = prompt * n_points + token / 2;
        if token.is_multiple_of(2) { &xs[pair * d_x..][..d_x] } else { &ys[pair..=pair] }
    }
}

/// The residual stream at layer 0.
pub(crate) fn embed(embed: Embed, arch: Arch, inputs: EmbedInputs<&[f32]>) -> Vec<f32> {
    arch.dispatch(EmbedForward(embed, inputs))
}

/// The gradients of the linear map and of the positions.
pub(crate) fn embed_gradient(
    embed: Embed,
    arch: Arch,
    inputs: EmbedInputs<&[f32]>,
    gradient: &[f32],
) -> (Linear<Vec<f32>>, Vec<f32>) {
    arch.dispatch(EmbedBackward(embed, inputs, gradient))
}

struct EmbedForward<'a>(Embed, EmbedInputs<&'a [f32]>);

impl WithSimd for EmbedForward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self(embed, EmbedInputs { linear: Linear { weight, bias }, positions, xs, ys }) = self;
        let d = embed.d_model;
        let mut start = positions[..embed.tokens * d].to_vec();
        start.chunks_exact_mut(d).for_each(|row| add(simd, row, bias));
        let mut out = start.repeat(embed.prompts);
        for (i, row) in out.chunks_exact_mut(d).enumerate() {
            for (value, weight) in embed.read(i, xs, ys).iter().zip(weight.chunks_exact(d)) {
                add_scaled(simd, row, weight, *value);
            }
        }
        out
    }
}

struct EmbedBackward<'a>(Embed, EmbedInputs<&'a [f32]>, &'a [f32]);

impl WithSimd for EmbedBackward<'_> {
    type Output = (Linear<Vec<f32>>, Vec<f32>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self(embed, EmbedInputs { linear: Linear { weight, bias }, positions, xs, ys }, gradient) = self;
        let d = embed.d_model;
        let [mut of_weight, mut of_bias, mut of_positions] =
            [weight, bias, positions].map(|input| vec![0.0; input.len()]);
        let wanted = &mut of_positions[..embed.tokens * d];
        gradient.chunks_exact(wanted.len()).for_each(|prompt| add(simd, wanted, prompt));
        add_rows(simd, &mut of_bias, wanted);
        for (i, gradient) in gradient.chunks_exact(d).enumerate() {
            for (value, of_weight) in embed.read(i, xs, ys).iter().zip(of_weight.chunks_exact_mut(d)) {
                add_scaled(simd, of_weight, gradient, *value);
            }
        }
        (Linear { weight: of_weight, bias: of_bias }, of_positions)
    }
}

/// What the gradient of a readout needs.
#[derive(Debug)]
pub struct SavedNorm {
    /// The normalised residual stream, `[rows, d_model]`.
    rows: Buffer,
    /// `[rows]`
    inverse_std: Buffer,
}

/// The predictions, and what their gradient needs.
pub(crate) fn read_out(arch: Arch, inputs: ReadOutInputs<&[f32]>) -> (Vec<f32>, SavedNorm) {
    arch.dispatch(ReadOutForward(inputs))
}

/// The gradients of a readout's inputs from that of the predictions.
pub(crate) fn read_out_gradient(
    arch: Arch,
    inputs: ReadOutInputs<&[f32]>,
    saved: &SavedNorm,
    gradient: &[f32],
) -> ReadOutInputs<Vec<f32>> {
    arch.dispatch(ReadOutBackward(inputs, saved, gradient))
}

/// The readout's weight with the norm's scale inside.
#[inline(always)]
fn folded<S: Simd>(simd: S, gamma: &[f32], weight: &[f32]) -> Buffer {
    let mut folded = Buffer::new(weight.len());
    folded.copy_from_slice(weight);
    multiply(simd, &mut folded, gamma);
    folded
}

struct ReadOutForward<'a>(ReadOutInputs<&'a [f32]>);

impl WithSimd for ReadOutForward<'_> {
    type Output = (Vec<f32>, SavedNorm);

    /// (n·γ + β) w + b = n (γ·w) + (βw + b) for the normalised row n.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let ReadOutInputs { norm: Norm { gamma, beta }, linear: Linear { weight, bias }, h } = self.0;
        let d = gamma.len();
        let mut saved = SavedNorm { rows: Buffer::new(h.len()), inverse_std: Buffer::new(h.len() / d) };
        normalise(simd, h, &mut saved.rows, &mut saved.inverse_std);
        let (folded, constant) = (folded(simd, gamma, weight), dot(simd, beta, weight) + bias[0]);
        let mut predictions = vec![constant; saved.inverse_std.len()];
        for (prediction, row) in predictions.iter_mut().zip(saved.rows.chunks_exact(d)) {
            *prediction += dot(simd, row, &folded);
        }
        (predictions, saved)
    }
}

struct ReadOutBackward<'a>(ReadOutInputs<&'a [f32]>, &'a SavedNorm, &'a [f32]);

impl WithSimd for ReadOutBackward<'_> {
    type Output = ReadOutInputs<Vec<f32>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self(ReadOutInputs { norm: Norm { gamma, beta }, linear: Linear { weight, .. }, h }, saved, gradient) =
            self;
        let d = gamma.len();
        let folded = folded(simd, gamma, weight);
        let mut of_normal = Buffer::new(h.len());
        of_normal.fill(0.0);
        let (mut of_folded, mut of_constant) = (vec![0.0; d], 0.0);
        let rows = of_normal.chunks_exact_mut(d).zip(saved.rows.chunks_exact(d)).zip(gradient);
        for ((of_normal, row), gradient) in rows {
            add_scaled(simd, of_normal, &folded, *gradient);
            add_scaled(simd, &mut of_folded, row, *gradient);
            of_constant += gradient;
        }
        let mut of_h = vec![0.0; h.len()];
        add_normalise_gradient(simd, &mut of_h, &of_normal, &saved.rows, &saved.inverse_std);

        let mut of_beta = vec![0.0; d];
        add_scaled(simd, &mut of_beta, weight, of_constant);
        let mut of_gamma = of_folded.clone();
        multiply(simd, &mut of_gamma, weight);
        let mut of_weight = of_folded;
        multiply(simd, &mut of_weight, gamma);
        add_scaled(simd, &mut of_weight, beta, of_constant);
        let norm = Norm { gamma: of_gamma, beta: of_beta };
        ReadOutInputs { norm, linear: Linear { weight: of_weight, bias: vec![of_constant] }, h: of_h }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::super::tests::instruction_sets;
    use super::*;
    use crate::{Inputs, NORM_EPSILON, Operation, ReadOut};

    /// Differences of f32 sums of some dozen terms in another order, all of them below 10.
    const TOLERANCE: f64 = 2e-5;

    fn random(len: usize, rng: &mut impl rand::Rng) -> Vec<f32> {
        (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Checks a gradient against the slope of f along every coordinate of every input, where f is the operation in f64,
    /// weighted by `toward` and summed.
    fn assert_gradients<const N: usize>(
        found: &[Vec<f32>; N],
        inputs: &[Vec<f32>; N],
        f: impl Fn(&[Vec<f64>; N]) -> f64,
    ) {
        let exact = inputs.each_ref().map(|input| input.iter().map(|&value| f64::from(value)).collect::<Vec<_>>());
        for (n, found) in found.iter().enumerate() {
            for (i, &found) in found.iter().enumerate() {
                let along = |by: f64| {
                    let mut moved = exact.clone();
                    moved[n][i] += by;
                    f(&moved)
                };
                let slope = (along(1e-5) - along(-1e-5)) / 2e-5;
                assert!((f64::from(found) - slope).abs() < TOLERANCE, "input {n}[{i}]: {found} for {slope}");
            }
        }
    }

    fn weighted(values: &[f64], toward: &[f32]) -> f64 {
        values.iter().zip(toward).map(|(value, &toward)| value * f64::from(toward)).sum()
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < TOLERANCE, "{found} for {expected}");
        }
    }

    #[test]
    fn tokens_are_read_in_at_their_positions() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        for [prompts, n_points, d_x, d, tokens] in [[1, 1, 1, 1, 1], [3, 4, 2, 17, 7], [2, 3, 5, 32, 6]] {
            let (xs, ys) = (random(prompts * n_points * d_x, &mut rng), random(prompts * n_points, &mut rng));
            let embed = Embed { prompts, tokens, d_model: d };
            let parameters = [d_x * d, d, 2 * n_points * d].map(|len| random(len, &mut rng));
            let toward = random(prompts * tokens * d, &mut rng);
            let plain = |[weight, bias, positions]: &[Vec<f64>; 3]| {
                let mut out = Vec::new();
                for i in 0..prompts * tokens * d {
                    let (prompt, token, j) = (i / d / tokens, i / d % tokens, i % d);
                    let pair = prompt * n_points + token / 2;
                    let read: f64 = match token % 2 {
                        0 => (0..d_x).map(|i| f64::from(xs[pair * d_x + i]) * weight[i * d + j]).sum(),
                        _ => f64::from(ys[pair]) * weight[j],
                    };
                    out.push(read + bias[j] + positions[token * d + j]);
                }
                out
            };
            for arch in instruction_sets() {
                let [weight, bias, positions] = parameters.each_ref().map(Vec::as_slice);
                let inputs = EmbedInputs { linear: Linear { weight, bias }, positions, xs: &xs[..], ys: &ys[..] };
                let exact = parameters.each_ref().map(|input| input.iter().map(|&value| f64::from(value)).collect());
                assert_close(&embed.forward(arch, inputs, true).0, &plain(&exact));
                let gradients = embed.backward(arch, inputs, &(), &toward).into_array();
                let [weight, bias, positions, None, None] = gradients else { panic!("prompts are constants") };
                let found = [weight, bias, positions].map(|gradient| gradient.expect("of a parameter"));
                assert_gradients(&found, &parameters, |inputs| weighted(&plain(inputs), &toward));
            }
        }
    }

    #[test]
    fn predictions_are_read_from_the_normalised_stream() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for [rows, d] in [[1, 2], [6, 17], [4, 32]] {
            let inputs = [d, d, d, 1, rows * d].map(|len| random(len, &mut rng));
            let toward = random(rows, &mut rng);
            let plain = |[gamma, beta, weight, bias, h]: &[Vec<f64>; 5]| {
                let predict = |h: &[f64]| {
                    let mean = h.iter().sum::<f64>() / d as f64;
                    let variance = h.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d as f64;
                    let std = (variance + NORM_EPSILON).sqrt();
                    bias[0] + (0..d).map(|j| ((h[j] - mean) / std * gamma[j] + beta[j]) * weight[j]).sum::<f64>()
                };
                h.chunks_exact(d).map(predict).collect::<Vec<_>>()
            };
            for arch in instruction_sets() {
                let slices = ReadOutInputs::from_array(inputs.each_ref().map(Vec::as_slice));
                let exact = inputs.each_ref().map(|input| input.iter().map(|&value| f64::from(value)).collect());
                let (found, saved) = ReadOut { shape: [1, rows] }.forward(arch, slices, true);
                assert_close(&found, &plain(&exact));
                let found = ReadOut { shape: [1, rows] }.backward(arch, slices, &saved, &toward);
                let found = found.into_array().map(|gradient| gradient.expect("of every input"));
                assert_gradients(&found, &inputs, |inputs| weighted(&plain(inputs), &toward));
            }
        }
    }
}
