//! What happens to every parameter after the backward pass: the sum of its gradients, their norm, and Adam.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::rows::{dot, update};
use crate::AdamStep;

/// Elements that one thread works on at a time; fixed, so that sums do not depend on the number of threads.
const PIECE: usize = 1 << 15;

/// to += Σ parts
pub(super) fn add_parts(arch: Arch, to: &mut [f32], parts: &[&[f32]]) {
    struct Add<'a>(&'a mut [f32], &'a [&'a [f32]], usize);
    impl WithSimd for Add<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(to, parts, first) = self;
            for part in parts {
                let part = &part[first..][..to.len()];
                update(
                    simd,
                    to,
                    [part],
                    #[inline(always)]
                    |to, [part]| simd.add_f32s(to, part),
                );
            }
        }
    }
    // Waking another thread costs more than a small tensor.
    if to.len() <= PIECE {
        return arch.dispatch(Add(to, parts, 0));
    }
    to.par_chunks_mut(PIECE).enumerate().for_each(|(i, to)| arch.dispatch(Add(to, parts, i * PIECE)));
}

/// The sum of the squares of `values`.
pub(super) fn squares(arch: Arch, values: &[f32]) -> f32 {
    struct Squares<'a>(&'a [f32]);
    impl WithSimd for Squares<'_> {
        type Output = f32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            dot(simd, self.0, self.0)
        }
    }
    if values.len() <= PIECE {
        return arch.dispatch(Squares(values));
    }
    let squares: Vec<f32> = values.par_chunks(PIECE).map(|piece| arch.dispatch(Squares(piece))).collect();
    squares.iter().sum()
}

/// One step of Adam, in place, with every gradient multiplied by `factor`.
pub(super) fn adam(arch: Arch, step: AdamStep, factor: f32, [value, first, second]: [&mut [f32]; 3], gradient: &[f32]) {
    struct Adam<'a>(AdamStep, f32, [&'a mut [f32]; 3], &'a [f32]);
    impl WithSimd for Adam<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(AdamStep { beta_1, beta_2, epsilon, rate, root }, factor, [value, first, second], gradient) = self;
            let (keep_1, take_1) = (simd.splat_f32s(beta_1 as f32), simd.splat_f32s((1.0 - beta_1) as f32));
            let (keep_2, take_2) = (simd.splat_f32s(beta_2 as f32), simd.splat_f32s((1.0 - beta_2) as f32));
            let (epsilon, factor) = (simd.splat_f32s(epsilon as f32), simd.splat_f32s(factor));
            let (rate, root) = (simd.splat_f32s(rate as f32), simd.splat_f32s(root as f32));
            update(
                simd,
                first,
                [gradient],
                #[inline(always)]
                |m, [g]| simd.mul_add_e_f32s(m, keep_1, simd.mul_f32s(simd.mul_f32s(g, factor), take_1)),
            );
            update(
                simd,
                second,
                [gradient],
                #[inline(always)]
                |v, [g]| {
                    let g = simd.mul_f32s(g, factor);
                    simd.mul_add_e_f32s(v, keep_2, simd.mul_f32s(simd.mul_f32s(g, g), take_2))
                },
            );
            update(
                simd,
                value,
                [first, second],
                #[inline(always)]
                |x, [m, v]| {
                    let scale = simd.mul_add_e_f32s(simd.sqrt_f32s(v), root, epsilon);
                    simd.sub_f32s(x, simd.div_f32s(simd.mul_f32s(m, rate), scale))
                },
            );
        }
    }
    if value.len() <= PIECE {
        return arch.dispatch(Adam(step, factor, [value, first, second], gradient));
    }
    let moments = first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE));
    let pieces = value.par_chunks_mut(PIECE).zip(moments).zip(gradient.par_chunks(PIECE));
    pieces.for_each(|((value, (first, second)), gradient)| {
        arch.dispatch(Adam(step, factor, [value, first, second], gradient));
    });
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;
    use burn::tensor::{Tensor, TensorData};
    use burn_flex::Flex;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::{Kernels, Updates};

    /// A few elements, a whole number of pieces, and one element more.
    const LENGTHS: [usize; 4] = [1, 77, 2 * PIECE, 2 * PIECE + 1];

    fn on<B: Kernels>(values: &[f32]) -> Tensor<B, 1> {
        Tensor::from_data(TensorData::from(values), &B::Device::default())
    }

    fn host<B: Kernels>(tensor: Tensor<B, 1>) -> Vec<f32> {
        tensor.into_data().to_vec().expect("the tensors are f32")
    }

    fn random(len: usize, seed: u64) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..len).map(|_| rng.random_range(0.1..1.0)).collect()
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1e-3), "{a} against {b}");
        }
    }

    /// The backend without fused operations is the reference.
    #[test]
    fn sums_of_gradients_equal_the_reference() {
        for len in LENGTHS {
            let parts = [random(len, 0), random(len, 1), random(len, 2)];
            let sum = Flex::add_parts(parts.iter().map(|part| on(part)).collect());
            let expected = NdArray::<f32>::add_parts(parts.iter().map(|part| on(part)).collect());
            assert_close(&host(sum.clone()), &host(expected.clone()));
            let squares = f64::from(host(Flex::squares(vec![sum.clone(), sum]))[0]);
            let exact = f64::from(host(NdArray::squares(vec![expected.clone(), expected]))[0]);
            assert!((squares / exact - 1.0).abs() < 1e-5, "{squares} against {exact}");
        }
    }

    #[test]
    fn adam_equals_the_reference_and_leaves_shared_tensors_alone() {
        fn step<B: Kernels>(len: usize, clip: bool) -> [Vec<f32>; 3] {
            let step = AdamStep { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, rate: 1e-2, root: 30.0 };
            let state = [random(len, 3), random(len, 4), random(len, 5)];
            let tensors = || [0, 1, 2].map(|i| on::<B>(&state[i]));
            let shared = tensors();
            let mut updates = Updates::new(step, clip.then(|| on(&[0.25])));
            let [found, from_shared] =
                [tensors(), shared.clone()].map(|state| B::adam(&mut updates, state, on(&random(len, 6))));
            B::finish(updates);
            assert_eq!(shared.map(host), state);
            let found = found.map(host);
            assert_eq!(from_shared.map(host), found);
            found
        }
        for len in LENGTHS {
            for clip in [false, true] {
                let expected = step::<NdArray>(len, clip);
                for (found, expected) in step::<Flex>(len, clip).iter().zip(&expected) {
                    assert_close(found, expected);
                }
            }
        }
    }
}
