//! The factors of products as tensor cores take them.

/// What TF32 has of an f32: all but the last 13 binary places.
pub(super) const KEPT_BITS: u32 = !0 << 13;

/// How much of itself a number loses on average as it is cut to that; it is made larger by as much before.
pub(super) const LOSS: f32 = 0.72 / 2048.0;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// As the kernel for products does it.
    fn cut(number: f32) -> f32 {
        f32::from_bits((number * (1.0 + LOSS)).to_bits() & KEPT_BITS)
    }

    #[test]
    fn factors_on_a_gpu_are_no_smaller_on_average() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        let numbers: Vec<f32> = (0..100_000).map(|_| rng.random_range(-3.0f32..3.0).exp()).collect();
        let errors: Vec<f64> = numbers.iter().map(|&number| f64::from(cut(number)) / f64::from(number) - 1.0).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let largest = errors.iter().fold(0.0, |largest: f64, error| largest.max(error.abs()));
        assert!(mean.abs() < 5e-6 && (0.4e-3..0.7e-3).contains(&largest), "{mean}, {largest}");
    }

    #[test]
    fn numbers_that_tf32_has_stay_on_a_gpu() {
        for number in [0.0, 1.0, -3.0, 2047.0, 1.0 + 1.0 / 1024.0] {
            assert_eq!(cut(number), number);
        }
    }
}
