//! Factors as a GPU's tensor cores take them, to see on a CPU what that does to a run: with the feature `tf32`.

use std::borrow::Cow;

use pulp::Simd;

/// Whether this build makes TF32 of what its blocks multiply.
pub(crate) const ON: bool = cfg!(feature = "tf32");

/// What TF32 has of an f32: all but the last 13 binary places.
pub(crate) const KEPT_BITS: u32 = !0 << 13;

/// How much of itself a number loses on average as it is cut to that; it is made larger by as much before.
pub(crate) const LOSS: f32 = 0.72 / 2048.0;

/// Factors of a product.
pub(super) fn of_product(factors: &[f32]) -> Cow<'_, [f32]> {
    if ON { factors.iter().map(|&number| cut(number)).collect() } else { factors.into() }
}

/// Factors in attention.
#[inline(always)]
pub(super) fn of_attention<S: Simd>(simd: S, factors: S::f32s) -> S::f32s {
    if ON { round(simd, factors) } else { factors }
}

/// As the kernel for products does it.
fn cut(number: f32) -> f32 {
    f32::from_bits((number * (1.0 + LOSS)).to_bits() & KEPT_BITS)
}

/// To the nearest, as the GPU's own conversion does it for the kernels of attention.
#[inline(always)]
fn round<S: Simd>(simd: S, numbers: S::f32s) -> S::f32s {
    let half = simd.splat_u32s(!KEPT_BITS / 2 + 1);
    let above = simd.add_u32s(simd.transmute_u32s_f32s(numbers), half);
    simd.transmute_f32s_u32s(simd.and_u32s(above, simd.splat_u32s(KEPT_BITS)))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::fused::tests::random;

    /// Mean and largest relative error of a way to TF32, whose numbers have 11 binary digits.
    fn errors(to_tf32: impl Fn(f32) -> f32) -> [f64; 2] {
        let uniform = random(100_000, &mut rand_chacha::ChaCha8Rng::seed_from_u64(0));
        let numbers: Vec<f32> = uniform.iter().map(|number| (3.0 * number).exp()).collect();
        let error = |&number: &f32| {
            let found = to_tf32(number);
            assert_eq!(found.to_bits() & !KEPT_BITS, 0, "{number} became {found}");
            f64::from(found) / f64::from(number) - 1.0
        };
        let errors: Vec<f64> = numbers.iter().map(error).collect();
        let largest = errors.iter().fold(0.0, |largest: f64, error| largest.max(error.abs()));
        [errors.iter().sum::<f64>() / errors.len() as f64, largest]
    }

    #[test]
    fn neither_way_makes_numbers_smaller_on_average() {
        for (errors, most) in [(errors(cut), 0.7e-3), (errors(|number| round(pulp::Scalar, number)), 0.5e-3)] {
            assert!(errors[0].abs() < 5e-6 && (0.4e-3..most).contains(&errors[1]), "{errors:?}");
        }
    }

    #[test]
    fn numbers_that_tf32_has_stay() {
        for number in [0.0, 1.0, -3.0, 2047.0, 1.0 + 1.0 / 1024.0] {
            assert_eq!([cut(number), round(pulp::Scalar, number)], [number; 2]);
        }
    }
}
