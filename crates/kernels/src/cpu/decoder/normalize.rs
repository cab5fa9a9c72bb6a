//! The norms of rows, and their gradient.

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffer::Buffer;
use crate::cpu::rows::{dot, multiply, normalise_row, total, update};
use crate::{Normalize, NormalizeInputs};

/// The normalised rows, scaled and shifted.
pub(crate) fn normalize(norm: Normalize, arch: Arch, inputs: NormalizeInputs<&[f32]>) -> Vec<f32> {
    arch.dispatch(Forward { norm, inputs })
}

/// The gradient of the rows from that of the result.
pub(crate) fn normalize_gradient(
    norm: Normalize,
    arch: Arch,
    inputs: NormalizeInputs<&[f32]>,
    gradient: &[f32],
) -> Vec<f32> {
    arch.dispatch(Backward { norm, inputs, gradient })
}

impl Normalize {
    /// A row brought to mean 0, if centred, and mean square 1; and what it was multiplied with for that.
    #[inline(always)]
    fn row<S: Simd>(self, simd: S, x: &[f32], normal: &mut [f32]) -> f32 {
        let mean = if self.centred { total(simd, x) / x.len() as f32 } else { 0.0 };
        normalise_row(simd, x, mean, self.epsilon, normal)
    }
}

struct Forward<'a> {
    norm: Normalize,
    inputs: NormalizeInputs<&'a [f32]>,
}

impl WithSimd for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let NormalizeInputs { scale, shift, x } = self.inputs;
        let width = self.norm.shape[1];
        // A row is copied from where it was computed, so that the result is written once and not cleared before.
        let (mut out, mut row) = (Vec::with_capacity(x.len()), Buffer::new(width));
        for x in x.chunks_exact(width) {
            self.norm.row(simd, x, &mut row);
            update(
                simd,
                &mut row,
                [scale, shift],
                #[inline(always)]
                |normal, [scale, shift]| simd.mul_add_e_f32s(normal, scale, shift),
            );
            out.extend_from_slice(&row);
        }
        out
    }
}

struct Backward<'a> {
    norm: Normalize,
    inputs: NormalizeInputs<&'a [f32]>,
    gradient: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = Vec<f32>;

    /// (g − mean(g) − n·mean(g·n)) · inverse, for the gradient g of the normalised row n; without mean(g) if not centred.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let NormalizeInputs { scale, x, .. } = self.inputs;
        let width = self.norm.shape[1];
        let mut normal = Buffer::new(width);
        let mut out = self.gradient.to_vec();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let inverse = self.norm.row(simd, x, &mut normal);
            multiply(simd, out, scale);
            let mean = if self.norm.centred { total(simd, out) / width as f32 } else { 0.0 };
            let along = dot(simd, out, &normal) / width as f32;
            let [mean, along, factor] = [mean, along, inverse].map(|value| simd.splat_f32s(value));
            update(
                simd,
                out,
                [&normal],
                #[inline(always)]
                |g, [n]| {
                    let change = simd.sub_f32s(simd.sub_f32s(g, mean), simd.mul_f32s(n, along));
                    simd.mul_f32s(change, factor)
                },
            );
        }
        out
    }
}
