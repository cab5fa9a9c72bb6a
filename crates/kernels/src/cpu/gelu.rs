//! GELU, and the exponential that it and the softmax take, in vector registers.

use pulp::Simd;

use super::rows::update;

/// The constants of z(u) = 2√(2/π)(u + 0.044715u³), with which the tanh form of GELU is u·σ(z).
const GELU_LINEAR: f32 = 1.595_769;
const GELU_CUBIC: f32 = GELU_LINEAR * 0.044_715;

/// GELU of u, and its derivative.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, u: S::f32s) -> (S::f32s, S::f32s) {
    let (one, linear) = (simd.splat_f32s(1.0), simd.splat_f32s(GELU_LINEAR));
    let (cubic, cubic_slope) = (simd.splat_f32s(GELU_CUBIC), simd.splat_f32s(3.0 * GELU_CUBIC));
    let square = simd.mul_f32s(u, u);
    let z = simd.mul_f32s(u, simd.mul_add_e_f32s(cubic, square, linear));
    let z_slope = simd.mul_add_e_f32s(cubic_slope, square, linear);
    let power = exp(simd, simd.neg_f32s(z));
    let sigmoid = simd.div_f32s(one, simd.add_f32s(one, power));
    let value = simd.mul_f32s(u, sigmoid);
    // σ + u σ (1 − σ) z', where 1 − σ = e⁻ᶻ σ
    let slope = simd.mul_add_e_f32s(simd.mul_f32s(value, simd.mul_f32s(power, sigmoid)), z_slope, sigmoid);
    (value, slope)
}

/// Of every u + bias its GELU, in rows as long as the bias.
#[inline(always)]
pub(super) fn gelu_rows<S: Simd>(simd: S, u: &[f32], bias: &[f32], value: &mut [f32]) {
    for (u, value) in u.chunks_exact(bias.len()).zip(value.chunks_exact_mut(bias.len())) {
        update(
            simd,
            value,
            [u, bias],
            #[inline(always)]
            |_, [u, bias]| gelu(simd, simd.add_f32s(u, bias)).0,
        );
    }
}

/// Of every u + bias its GELU and the derivative there, in rows as long as the bias.
#[inline(always)]
pub(super) fn gelu_rows_with_slope<S: Simd>(simd: S, u: &[f32], bias: &[f32], value: &mut [f32], slope: &mut [f32]) {
    let n = bias.len();
    for ((u, value), slope) in u.chunks_exact(n).zip(value.chunks_exact_mut(n)).zip(slope.chunks_exact_mut(n)) {
        update(
            simd,
            value,
            [u, bias],
            #[inline(always)]
            |_, [u, bias]| simd.add_f32s(u, bias),
        );
        gelu_with_slope(simd, value, slope);
    }
}

/// In the place of every u its GELU, and the derivative there.
#[inline(always)]
pub(super) fn gelu_with_slope<S: Simd>(simd: S, value: &mut [f32], slope: &mut [f32]) {
    let ((value, value_rest), (slope, slope_rest)) = (S::as_mut_simd_f32s(value), S::as_mut_simd_f32s(slope));
    let ((values, value), (slopes, slope)) = (value.as_chunks_mut::<4>(), slope.as_chunks_mut::<4>());
    for (value, slope) in values.iter_mut().zip(slopes) {
        let found = [gelu(simd, value[0]), gelu(simd, value[1]), gelu(simd, value[2]), gelu(simd, value[3])];
        (*value, *slope) = (found.map(|found| found.0), found.map(|found| found.1));
    }
    for (value, slope) in value.iter_mut().zip(slope) {
        (*value, *slope) = gelu(simd, *value);
    }
    if !value_rest.is_empty() {
        let (value, slope) = gelu(simd, simd.partial_load_f32s(value_rest));
        simd.partial_store_f32s(value_rest, value);
        simd.partial_store_f32s(slope_rest, slope);
    }
}

/// Where [`exp`] is cut off. A sum with a 1 in it takes no notice of e⁻⁴³, and the product of two of them still has all
/// its digits; with less than that a CPU computes several times slower, which a model with hard attention would be made of.
const EXP_CUT: f32 = 43.0;

/// eˣ to two units in the last place, for x cut to ±[`EXP_CUT`].
///
/// # Source
/// Cephes `expf` (Moshier): x = n ln 2 + r, eʳ by a polynomial, 2ⁿ by its bits.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Adding 1.5·2²³ leaves the nearest whole number in the lowest bits; 127 is the bias of the exponent.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    // ln 2 in two parts, the first exact in few bits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5];
    let [most, least] = [simd.splat_f32s(EXP_CUT), simd.splat_f32s(-EXP_CUT)];
    let x = simd.max_f32s(simd.min_f32s(x, most), least);
    let round = simd.splat_f32s(ROUND);
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), round);
    let n = simd.sub_f32s(shifted, round);
    let mut r = x;
    for part in LN_2 {
        r = simd.mul_add_e_f32s(n, simd.splat_f32s(-part), r);
    }
    let mut sum = simd.splat_f32s(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        sum = simd.mul_add_e_f32s(sum, r, simd.splat_f32s(*coefficient));
    }
    let value = simd.add_f32s(simd.mul_add_e_f32s(simd.mul_f32s(r, r), sum, r), simd.splat_f32s(1.0));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.mul_f32s(value, simd.transmute_f32s_u32s(exponent))
}

#[cfg(test)]
mod tests {
    use super::super::tests::instruction_sets;
    use super::*;

    struct Each<'a, F>(&'a [f32], F);

    /// A function of a vector, for any instruction set.
    trait OnVector: Copy {
        fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
    }

    impl<F: OnVector> pulp::WithSimd for Each<'_, F> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut to = self.0.to_vec();
            update(
                simd,
                &mut to,
                [],
                #[inline(always)]
                |x, []| self.1.of(simd, x),
            );
            to
        }
    }

    fn grid() -> Vec<f32> {
        (-8_000..=8_000).map(|i| i as f32 * 0.01).collect()
    }

    #[test]
    fn exp_is_the_exponential_to_two_units_in_the_last_place() {
        #[derive(Clone, Copy)]
        struct Exp;
        impl OnVector for Exp {
            #[inline(always)]
            fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
                exp(simd, x)
            }
        }
        for arch in instruction_sets() {
            for (found, x) in arch.dispatch(Each(&grid(), Exp)).into_iter().zip(grid()) {
                assert!((found * found).is_normal(), "{arch:?}: the square of exp({x})");
                let expected = f64::from(x.clamp(-EXP_CUT, EXP_CUT)).exp();
                let off = (f64::from(found) / expected - 1.0).abs() / f64::from(f32::EPSILON);
                assert!(off < 2.0, "{arch:?}: exp({x}) = {found}, not {expected}: {off} units");
            }
        }
    }

    #[test]
    fn gelu_and_its_slope_are_those_of_the_tanh_form() {
        #[derive(Clone, Copy)]
        struct Gelu {
            slope: bool,
        }
        impl OnVector for Gelu {
            #[inline(always)]
            fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
                let (value, slope) = gelu(simd, x);
                if self.slope { slope } else { value }
            }
        }
        let exact =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
        for arch in instruction_sets() {
            let values = arch.dispatch(Each(&grid(), Gelu { slope: false }));
            let slopes = arch.dispatch(Each(&grid(), Gelu { slope: true }));
            for ((value, slope), x) in values.into_iter().zip(slopes).zip(grid().into_iter().map(f64::from)) {
                let exact_slope = (exact(x + 1e-5) - exact(x - 1e-5)) / 2e-5;
                assert!((f64::from(value) - exact(x)).abs() < 3e-7 * x.abs().max(1.0), "{arch:?}: gelu({x}) = {value}");
                assert!((f64::from(slope) - exact_slope).abs() < 1e-6, "{arch:?}: gelu'({x}) = {slope}");
            }
        }
    }
}
