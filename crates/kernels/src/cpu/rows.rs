//! Layer normalisation, sums and arithmetic, one row after the other in vector registers.
//!
//! Everything here is generic over the instruction set and always inlined, so that it is compiled for the one that
//! [`pulp::Arch`] finds at run time. Rows may have any length: their last vector may be partial.

use pulp::Simd;

use crate::NORM_EPSILON;

/// to\[i\] = f(to\[i\], from\[…\]\[i\]), in whole vectors. Four are under way at a time: one alone would wait for most
/// operations of a long f to end.
#[inline(always)]
pub(super) fn update<S: Simd, const N: usize>(
    simd: S,
    to: &mut [f32],
    from: [&[f32]; N],
    f: impl Fn(S::f32s, [S::f32s; N]) -> S::f32s,
) {
    let (to, to_rest) = S::as_mut_simd_f32s(to);
    let whole = from.map(|from| &S::as_simd_f32s(from).0[..to.len()]);
    let (fours, to) = to.as_chunks_mut::<4>();
    let (fours_from, whole) = (whole.map(|from| from.as_chunks::<4>().0), whole.map(|from| from.as_chunks::<4>().1));
    for (i, to) in fours.iter_mut().enumerate() {
        let at = |k: usize| fours_from.map(|from| from[i][k]);
        *to = [f(to[0], at(0)), f(to[1], at(1)), f(to[2], at(2)), f(to[3], at(3))];
    }
    for (i, to) in to.iter_mut().enumerate() {
        *to = f(*to, whole.map(|from| from[i]));
    }
    if !to_rest.is_empty() {
        let rest = from.map(|from| simd.partial_load_f32s(S::as_simd_f32s(from).1));
        simd.partial_store_f32s(to_rest, f(simd.partial_load_f32s(to_rest), rest));
    }
}

/// Σ f(from\[…\]\[i\]), where f of zeros is zero.
#[inline(always)]
pub(super) fn sum<S: Simd, const N: usize>(
    simd: S,
    from: [&[f32]; N],
    f: impl Fn(S::f32s, [S::f32s; N]) -> S::f32s,
) -> f32 {
    let whole = from.map(|from| S::as_simd_f32s(from).0);
    let mut sum = simd.splat_f32s(0.0);
    for i in 0..whole[0].len() {
        sum = f(sum, whole.map(|from| from[i]));
    }
    let rest = from.map(|from| S::as_simd_f32s(from).1);
    if !rest[0].is_empty() {
        sum = f(sum, rest.map(|rest| simd.partial_load_f32s(rest)));
    }
    simd.reduce_sum_f32s(sum)
}

/// to = from
#[inline(always)]
pub(super) fn copy<S: Simd>(simd: S, to: &mut [f32], from: &[f32]) {
    update(
        simd,
        to,
        [from],
        #[inline(always)]
        |_, [from]| from,
    );
}

/// to += from
#[inline(always)]
pub(super) fn add<S: Simd>(simd: S, to: &mut [f32], from: &[f32]) {
    update(
        simd,
        to,
        [from],
        #[inline(always)]
        |to, [from]| simd.add_f32s(to, from),
    );
}

/// to += factor·from
#[inline(always)]
pub(super) fn add_scaled<S: Simd>(simd: S, to: &mut [f32], from: &[f32], factor: f32) {
    let factor = simd.splat_f32s(factor);
    update(
        simd,
        to,
        [from],
        #[inline(always)]
        |to, [from]| simd.mul_add_e_f32s(from, factor, to),
    );
}

/// to = factor·to
#[inline(always)]
pub(super) fn scale<S: Simd>(simd: S, to: &mut [f32], factor: f32) {
    let factor = simd.splat_f32s(factor);
    update(
        simd,
        to,
        [],
        #[inline(always)]
        |to, []| simd.mul_f32s(to, factor),
    );
}

/// to\[i\] = to\[i\]·from\[i\]
#[inline(always)]
pub(super) fn multiply<S: Simd>(simd: S, to: &mut [f32], from: &[f32]) {
    update(
        simd,
        to,
        [from],
        #[inline(always)]
        |to, [from]| simd.mul_f32s(to, from),
    );
}

/// Σ a\[i\]·b\[i\]
#[inline(always)]
pub(super) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    sum(
        simd,
        [a, b],
        #[inline(always)]
        |sum, [a, b]| simd.mul_add_e_f32s(a, b, sum),
    )
}

/// Σ x\[i\]
#[inline(always)]
pub(super) fn total<S: Simd>(simd: S, x: &[f32]) -> f32 {
    sum(
        simd,
        [x],
        #[inline(always)]
        |sum, [x]| simd.add_f32s(sum, x),
    )
}

/// to += Σ of the rows
#[inline(always)]
pub(super) fn add_rows<S: Simd>(simd: S, to: &mut [f32], rows: &[f32]) {
    for row in rows.chunks_exact(to.len()) {
        add(simd, to, row);
    }
}

/// Every row of `to` times that of `from`, and added to `sum`.
#[inline(always)]
pub(super) fn multiply_and_sum<S: Simd>(simd: S, to: &mut [f32], from: &[f32], sum: &mut [f32]) {
    for (to, from) in to.chunks_exact_mut(sum.len()).zip(from.chunks_exact(sum.len())) {
        multiply(simd, to, from);
        add(simd, sum, to);
    }
}

/// to\[i\] += Σ of the first `columns` elements of row i
#[inline(always)]
pub(super) fn add_row_sums<S: Simd>(simd: S, to: &mut [f32], rows: &[f32], columns: usize) {
    let stride = rows.len() / to.len();
    for (to, row) in to.iter_mut().zip(rows.chunks_exact(stride)) {
        *to += total(simd, &row[..columns]);
    }
}

/// Rows of `h` brought to mean 0 and variance 1, and what each was multiplied with for that.
///
/// # Shapes
/// `h` and `normal` `[n, d]`, `inverse_std` `[n]`
#[inline(always)]
pub(super) fn normalise<S: Simd>(simd: S, h: &[f32], normal: &mut [f32], inverse_std: &mut [f32]) {
    let d = h.len() / inverse_std.len();
    for ((h, normal), inverse_std) in h.chunks_exact(d).zip(normal.chunks_exact_mut(d)).zip(inverse_std) {
        *inverse_std = normalise_row(simd, h, total(simd, h) / d as f32, NORM_EPSILON as f32, normal);
    }
}

/// A row less `mean`, brought to mean square 1; and what it was multiplied with for that.
#[inline(always)]
pub(super) fn normalise_row<S: Simd>(simd: S, x: &[f32], mean: f32, epsilon: f32, normal: &mut [f32]) -> f32 {
    let mean = simd.splat_f32s(mean);
    update(
        simd,
        normal,
        [x],
        #[inline(always)]
        |_, [x]| simd.sub_f32s(x, mean),
    );
    let inverse = 1.0 / (dot(simd, normal, normal) / x.len() as f32 + epsilon).sqrt();
    scale(simd, normal, inverse);
    inverse
}

/// The gradient through [`normalise`], added to `to`: (g − mean(g) − n·mean(g·n)) / std for gradient g and output n.
///
/// # Shapes
/// As there; `to` and `gradient` `[n, d]`
#[inline(always)]
pub(super) fn add_normalise_gradient<S: Simd>(
    simd: S,
    to: &mut [f32],
    gradient: &[f32],
    normal: &[f32],
    inverse_std: &[f32],
) {
    let d = normal.len() / inverse_std.len();
    let rows = to.chunks_exact_mut(d).zip(gradient.chunks_exact(d)).zip(normal.chunks_exact(d)).zip(inverse_std);
    for (((to, gradient), normal), inverse_std) in rows {
        let (mean, along) = (total(simd, gradient) / d as f32, dot(simd, gradient, normal) / d as f32);
        let [mean, along, factor] = [simd.splat_f32s(mean), simd.splat_f32s(along), simd.splat_f32s(*inverse_std)];
        update(
            simd,
            to,
            [gradient, normal],
            #[inline(always)]
            |to, [g, n]| {
                let change = simd.sub_f32s(simd.sub_f32s(g, mean), simd.mul_f32s(n, along));
                simd.mul_add_e_f32s(change, factor, to)
            },
        );
    }
}
