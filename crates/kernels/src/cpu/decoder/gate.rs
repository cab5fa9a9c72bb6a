//! Activations, and their gradient.

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffer::Buffer;
use crate::cpu::gelu::{exp, gelu, gelu_with_slope};
use crate::cpu::rows::{copy, multiply, update};
use crate::{Activation, Gate};

/// The activations.
pub(crate) fn gate(gate: Gate, arch: Arch, x: &[f32]) -> Vec<f32> {
    arch.dispatch(Forward { gate, x })
}

/// The gradient of what goes in from that of what comes out.
pub(crate) fn gate_gradient(gate: Gate, arch: Arch, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    arch.dispatch(Backward { gate, x, gradient })
}

/// Of every x the activation.
#[inline(always)]
fn activate<S: Simd>(simd: S, activation: Activation, x: &[f32], value: &mut [f32]) {
    match activation {
        Activation::GeluTanh => update(
            simd,
            value,
            [x],
            #[inline(always)]
            |_, [x]| gelu(simd, x).0,
        ),
        Activation::Silu => update(
            simd,
            value,
            [x],
            #[inline(always)]
            |_, [x]| simd.mul_f32s(x, sigmoid(simd, x)),
        ),
        Activation::Gelu => update(
            simd,
            value,
            [x],
            #[inline(always)]
            |_, [x]| simd.mul_f32s(x, normal_cumulative(simd, x)),
        ),
    }
}

/// Of every x the activation and its derivative.
#[inline(always)]
fn activate_with_slope<S: Simd>(simd: S, activation: Activation, x: &[f32], value: &mut [f32], slope: &mut [f32]) {
    match activation {
        Activation::GeluTanh => {
            copy(simd, value, x);
            return gelu_with_slope(simd, value, slope);
        }
        Activation::Silu => update(
            simd,
            slope,
            [x],
            // σ + x σ (1 − σ)
            #[inline(always)]
            |_, [x]| {
                let sigmoid = sigmoid(simd, x);
                let rest = simd.sub_f32s(simd.splat_f32s(1.0), sigmoid);
                simd.mul_add_e_f32s(simd.mul_f32s(x, sigmoid), rest, sigmoid)
            },
        ),
        Activation::Gelu => update(
            simd,
            slope,
            [x],
            // Φ + x φ
            #[inline(always)]
            |_, [x]| {
                let half_square = simd.mul_f32s(simd.mul_f32s(x, x), simd.splat_f32s(-0.5));
                let density = simd.mul_f32s(exp(simd, half_square), simd.splat_f32s(0.398_942_3));
                simd.mul_add_e_f32s(x, density, normal_cumulative(simd, x))
            },
        ),
    }
    activate(simd, activation, x, value);
}

#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

/// Φ(x) to a relative error of 2e-7.
///
/// # Source
/// Press et al., *Numerical Recipes*, `erfcc`: erfc(z) = t exp(−z² + p(t)) with t = 1 / (1 + z/2), for z ≥ 0.
#[inline(always)]
fn normal_cumulative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const POLYNOMIAL: [f32; 10] = [
        0.170_872_76,
        -0.822_152_26,
        1.488_515_9,
        -1.135_204,
        0.278_868_08,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_95,
        1.000_023_7,
        -1.265_512_2,
    ];
    let [zero, one] = [0.0, 1.0].map(|value| simd.splat_f32s(value));
    let z = simd.mul_f32s(simd.abs_f32s(x), simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2));
    let t = simd.div_f32s(one, simd.mul_add_e_f32s(z, simd.splat_f32s(0.5), one));
    let mut sum = simd.splat_f32s(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        sum = simd.mul_add_e_f32s(sum, t, simd.splat_f32s(*coefficient));
    }
    let tail = simd.mul_f32s(t, exp(simd, simd.sub_f32s(sum, simd.mul_f32s(z, z))));
    let half = simd.mul_f32s(tail, simd.splat_f32s(0.5));
    simd.select_f32s(simd.less_than_f32s(x, zero), half, simd.sub_f32s(one, half))
}

impl Gate {
    /// A row's part that goes through the activation, and the part that is multiplied with it.
    fn halves(self, row: &[f32]) -> (&[f32], Option<&[f32]>) {
        if self.gated { (&row[..self.shape[1]], Some(&row[self.shape[1]..])) } else { (row, None) }
    }

    fn row_len(self) -> usize {
        self.shape[1] * if self.gated { 2 } else { 1 }
    }
}

struct Forward<'a> {
    gate: Gate,
    x: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { gate, x } = self;
        let [rows, width] = gate.shape;
        // As for norms: a row is copied from where it was computed.
        let (mut out, mut row) = (Vec::with_capacity(rows * width), Buffer::new(width));
        for x in x.chunks_exact(gate.row_len()) {
            let (x, factor) = gate.halves(x);
            activate(simd, gate.activation, x, &mut row);
            if let Some(factor) = factor {
                multiply(simd, &mut row, factor);
            }
            out.extend_from_slice(&row);
        }
        out
    }
}

struct Backward<'a> {
    gate: Gate,
    x: &'a [f32],
    gradient: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { gate, x, gradient } = self;
        let width = gate.shape[1];
        let mut out = vec![0.0; x.len()];
        let mut value = Buffer::new(width);
        let rows = x.chunks_exact(gate.row_len()).zip(gradient.chunks_exact(width));
        for ((x, gradient), out) in rows.zip(out.chunks_exact_mut(gate.row_len())) {
            let (x, factor) = gate.halves(x);
            let (of_x, of_factor) = out.split_at_mut(width);
            activate_with_slope(simd, gate.activation, x, &mut value, of_x);
            multiply(simd, of_x, gradient);
            if let Some(factor) = factor {
                multiply(simd, of_x, factor);
                of_factor.copy_from_slice(&value);
                multiply(simd, of_factor, gradient);
            }
        }
        out
    }
}
