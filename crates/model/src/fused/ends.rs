//! The two ends of the model: from tokens to the residual stream, and from there to predictions.

#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::{Arch, Simd, WithSimd};

use super::buffer::Buffer;
use super::kernels::{add, add_normalise_gradient, add_rows, add_scaled, dot, multiply, normalise};
use super::operation::Operation;
#[cfg(feature = "gpu")]
use crate::gpu;

/// The read-in of the first tokens of some prompts, plus their positions.
///
/// Inputs: the read-in's weight `[d_x, d_model]` and bias `[d_model]`, the positions `[seq_len, d_model]`, and the prompts'
/// x `[prompts, n_points, d_x]` and y `[prompts, n_points]`, which are constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embed {
    pub(crate) prompts: usize,
    /// Tokens of a prompt that are wanted.
    pub(crate) tokens: usize,
    pub(crate) d_model: usize,
}

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

impl Operation<5> for Embed {
    type Kept = ();
    #[cfg(feature = "gpu")]
    type KeptOnGpu<R: CubeRuntime> = CubeTensor<R>;

    fn shape(&self) -> Vec<usize> {
        vec![self.prompts, self.tokens, self.d_model]
    }

    fn forward(&self, arch: Arch, inputs: [&[f32]; 5], _: bool) -> (Vec<f32>, ()) {
        (arch.dispatch(EmbedForward(*self, inputs)), ())
    }

    fn backward(&self, arch: Arch, inputs: [&[f32]; 5], (): &(), gradient: &[f32]) -> [Option<Vec<f32>>; 5] {
        let [weight, bias, positions] = arch.dispatch(EmbedBackward(*self, inputs, gradient)).map(Some);
        [weight, bias, positions, None, None]
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: CubeRuntime>(&self, inputs: [CubeTensor<R>; 5]) -> (CubeTensor<R>, CubeTensor<R>) {
        gpu::embed(self, inputs)
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: CubeRuntime>(
        &self,
        inputs: [CubeTensor<R>; 5],
        read: &CubeTensor<R>,
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; 5] {
        let [weight, bias, positions] = gpu::embed_gradient(self, inputs, read, gradient).map(Some);
        [weight, bias, positions, None, None]
    }
}

struct EmbedForward<'a>(Embed, [&'a [f32]; 5]);

impl WithSimd for EmbedForward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self(embed, [weight, bias, positions, xs, ys]) = self;
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

struct EmbedBackward<'a>(Embed, [&'a [f32]; 5], &'a [f32]);

impl WithSimd for EmbedBackward<'_> {
    type Output = [Vec<f32>; 3];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self(embed, [weight, bias, positions, xs, ys], gradient) = self;
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
        [of_weight, of_bias, of_positions]
    }
}

/// Predictions: the final norm of every row, then the read-out.
///
/// Inputs: scale and shift of the norm `[d_model]`, the read-out's weight `[d_model, 1]` and bias `[1]`, and the
/// residual stream with a row for every prediction.
#[derive(Clone, Debug)]
pub(crate) struct ReadOut {
    /// Of the predictions, `[prompts, n_points]`.
    pub(crate) shape: [usize; 2],
}

/// What the gradient of [`ReadOut`] needs.
#[derive(Debug)]
pub(crate) struct Normal {
    /// The normalised residual stream, `[rows, d_model]`.
    rows: Buffer,
    /// `[rows]`
    inverse_std: Buffer,
}

impl Operation<5> for ReadOut {
    type Kept = Normal;
    #[cfg(feature = "gpu")]
    type KeptOnGpu<R: CubeRuntime> = CubeTensor<R>;

    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn forward(&self, arch: Arch, inputs: [&[f32]; 5], _: bool) -> (Vec<f32>, Normal) {
        arch.dispatch(ReadOutForward(inputs))
    }

    fn backward(&self, arch: Arch, inputs: [&[f32]; 5], kept: &Normal, gradient: &[f32]) -> [Option<Vec<f32>>; 5] {
        arch.dispatch(ReadOutBackward(inputs, kept, gradient)).map(Some)
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: CubeRuntime>(&self, inputs: [CubeTensor<R>; 5]) -> (CubeTensor<R>, CubeTensor<R>) {
        gpu::read_out(self, inputs)
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: CubeRuntime>(
        &self,
        inputs: [CubeTensor<R>; 5],
        statistics: &CubeTensor<R>,
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; 5] {
        gpu::read_out_gradient(inputs, statistics, gradient).map(Some)
    }
}

/// The read-out's weight with the norm's scale inside.
#[inline(always)]
fn folded<S: Simd>(simd: S, gamma: &[f32], weight: &[f32]) -> Buffer {
    let mut folded = Buffer::new(weight.len());
    folded.copy_from_slice(weight);
    multiply(simd, &mut folded, gamma);
    folded
}

struct ReadOutForward<'a>([&'a [f32]; 5]);

impl WithSimd for ReadOutForward<'_> {
    type Output = (Vec<f32>, Normal);

    /// (n·γ + β) w + b = n (γ·w) + (βw + b) for the normalised row n.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let [gamma, beta, weight, bias, h] = self.0;
        let d = gamma.len();
        let mut kept = Normal { rows: Buffer::new(h.len()), inverse_std: Buffer::new(h.len() / d) };
        normalise(simd, h, &mut kept.rows, &mut kept.inverse_std);
        let (folded, constant) = (folded(simd, gamma, weight), dot(simd, beta, weight) + bias[0]);
        let mut predictions = vec![constant; kept.inverse_std.len()];
        for (prediction, row) in predictions.iter_mut().zip(kept.rows.chunks_exact(d)) {
            *prediction += dot(simd, row, &folded);
        }
        (predictions, kept)
    }
}

struct ReadOutBackward<'a>([&'a [f32]; 5], &'a Normal, &'a [f32]);

impl WithSimd for ReadOutBackward<'_> {
    type Output = [Vec<f32>; 5];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self([gamma, beta, weight, _, h], kept, gradient) = self;
        let d = gamma.len();
        let folded = folded(simd, gamma, weight);
        let mut of_normal = Buffer::new(h.len());
        of_normal.fill(0.0);
        let (mut of_folded, mut of_constant) = (vec![0.0; d], 0.0);
        let rows = of_normal.chunks_exact_mut(d).zip(kept.rows.chunks_exact(d)).zip(gradient);
        for ((of_normal, row), gradient) in rows {
            add_scaled(simd, of_normal, &folded, *gradient);
            add_scaled(simd, &mut of_folded, row, *gradient);
            of_constant += gradient;
        }
        let mut of_h = vec![0.0; h.len()];
        add_normalise_gradient(simd, &mut of_h, &of_normal, &kept.rows, &kept.inverse_std);

        let mut of_beta = vec![0.0; d];
        add_scaled(simd, &mut of_beta, weight, of_constant);
        let mut of_gamma = of_folded.clone();
        multiply(simd, &mut of_gamma, weight);
        let mut of_weight = of_folded;
        multiply(simd, &mut of_weight, gamma);
        add_scaled(simd, &mut of_weight, beta, of_constant);
        [of_gamma, of_beta, of_weight, vec![of_constant], of_h]
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::super::tests::instruction_sets;
    use super::*;

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
                let inputs = [weight, bias, positions, &xs, &ys];
                let exact = parameters.each_ref().map(|input| input.iter().map(|&value| f64::from(value)).collect());
                assert_close(&embed.forward(arch, inputs, true).0, &plain(&exact));
                let [weight, bias, positions, None, None] = embed.backward(arch, inputs, &(), &toward) else {
                    panic!("prompts are constants")
                };
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
                    let std = (variance + crate::block::NORM_EPSILON).sqrt();
                    bias[0] + (0..d).map(|j| ((h[j] - mean) / std * gamma[j] + beta[j]) * weight[j]).sum::<f64>()
                };
                h.chunks_exact(d).map(predict).collect::<Vec<_>>()
            };
            for arch in instruction_sets() {
                let slices = inputs.each_ref().map(Vec::as_slice);
                let exact = inputs.each_ref().map(|input| input.iter().map(|&value| f64::from(value)).collect());
                let (found, kept) = ReadOut { shape: [1, rows] }.forward(arch, slices, true);
                assert_close(&found, &plain(&exact));
                let found = ReadOut { shape: [1, rows] }.backward(arch, slices, &kept, &toward);
                let found = found.map(|gradient| gradient.expect("of every input"));
                assert_gradients(&found, &inputs, |inputs| weighted(&plain(inputs), &toward));
            }
        }
    }
}
