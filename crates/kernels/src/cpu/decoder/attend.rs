//! Attention of sequences of different lengths, one head of keys and values at a time, by matrix products.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffer::Buffer;
use crate::cpu::gelu::exp;
use crate::cpu::product::{Matrix, MatrixMut};
use crate::cpu::rows::{add, dot, scale, sum, update};
use crate::{Attend, Span};

/// What the heads put together.
pub(crate) fn attend(attend: &Attend, arch: Arch, rows: &[f32]) -> Vec<f32> {
    arch.dispatch(Forward { attend, rows })
}

/// The gradient of queries, keys and values from that of what the heads put together.
pub(crate) fn attend_gradient(attend: &Attend, arch: Arch, rows: &[f32], gradient: &[f32]) -> Vec<f32> {
    arch.dispatch(Backward { attend, rows, gradient })
}

impl Attend {
    fn row_len(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.d_head
    }

    /// Query heads that share a head of keys.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The row and the position of every key that `span` sees, in their order.
    fn keys(&self, span: Span) -> impl Iterator<Item = (usize, usize)> {
        let before = span.from.into_iter().flat_map(|(start, seen)| start..start + seen);
        before.chain(span.rows()).enumerate().map(|(position, row)| (row, position))
    }
}

/// A head's features of a row turned to their position, or with `back` turned from there.
#[inline(always)]
fn rotate(attend: &Attend, features: &mut [f32], position: usize, back: bool) {
    let [cos, sin] = attend.rope.at(position);
    let (first, second) = features[..attend.rope.dims].split_at_mut(attend.rope.dims / 2);
    let sign = if back { -1.0 } else { 1.0 };
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        let sin = sign * sin;
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// Keys and values of one head over one sequence, `[keys, d_head]`.
struct Keys {
    keys: Buffer,
    values: Buffer,
}

impl Keys {
    fn new(attend: &Attend, rows: &[f32], span: Span, head: usize) -> Self {
        let (d, n_keys) = (attend.d_head, span.before() + span.len);
        let [mut keys, mut values] = [n_keys * d; 2].map(Buffer::new);
        let cells = keys.chunks_exact_mut(d).zip(values.chunks_exact_mut(d));
        for ((row, position), (key, value)) in attend.keys(span).zip(cells) {
            let row = &rows[row * attend.row_len()..][..attend.row_len()];
            key.copy_from_slice(&row[(attend.heads + head) * d..][..d]);
            rotate(attend, key, position, false);
            value.copy_from_slice(&row[(attend.heads + attend.kv_heads + head) * d..][..d]);
        }
        Self { keys, values }
    }
}

/// Some rows of a sequence, from which no key behind the last of them is seen.
struct Tile {
    /// Among the sequence's.
    rows: Range<usize>,
    /// The keys that one of them sees.
    seen: Range<usize>,
    /// Those of the heads that share the keys, `[group, rows, d_head]`.
    queries: Buffer,
    /// The attention weights, `[group, rows, seen]`.
    weights: Buffer,
    /// With a cap c, the scores over it as c·tanh gave them: what its gradient needs.
    capped: Option<Buffer>,
}

impl Tile {
    /// Tiles of a sequence.
    fn rows(span: Span) -> impl Iterator<Item = Range<usize>> {
        /// Enough for a product, and few enough that little is computed of what is not seen.
        const ROWS: usize = 64;
        (0..span.len).step_by(ROWS).map(move |first| first..span.len.min(first + ROWS))
    }

    #[inline(always)]
    fn new<S: Simd>(simd: S, part: Part<'_>, keys: &Keys, rows: Range<usize>, save: bool) -> Self {
        let Part { attend, rows: inputs, span, head } = part;
        let (d, group, before) = (attend.d_head, attend.group(), span.before());
        let seen = attend.seen(before + rows.start).start..attend.seen(before + rows.end - 1).end;
        let mut queries = Buffer::new(group * rows.len() * d);
        for (at, query) in queries.chunks_exact_mut(d).enumerate() {
            let (member, row) = (at / rows.len(), rows.start + at % rows.len());
            let from = (span.start + row) * attend.row_len() + (head * group + member) * d;
            query.copy_from_slice(&inputs[from..from + d]);
            rotate(attend, query, before + row, false);
        }
        scale(simd, &mut queries, attend.scale);
        let mut weights = Buffer::new(group * rows.len() * seen.len());
        let of_seen = Matrix::new(&keys.keys[seen.start * d..seen.end * d], d);
        MatrixMut::new(&mut weights, seen.len()).set_product(Matrix::new(&queries, d), of_seen.transposed());
        let mut capped = None;
        if let Some(cap) = attend.cap {
            weights.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
            if save {
                let mut kept = Buffer::new(weights.len());
                kept.copy_from_slice(&weights);
                capped = Some(kept);
            }
        }
        for (at, scores) in weights.chunks_exact_mut(seen.len()).enumerate() {
            let of_row = attend.seen(before + rows.start + at % rows.len());
            let of_row = of_row.start - seen.start..of_row.end - seen.start;
            scores[..of_row.start].fill(0.0);
            scores[of_row.end..].fill(0.0);
            softmax(simd, &mut scores[of_row]);
        }
        Self { rows, seen, queries, weights, capped }
    }

    /// The part of one of the heads in `[group, rows, seen]`.
    fn of_member(&self, member: usize) -> Range<usize> {
        let len = self.rows.len() * self.seen.len();
        member * len..(member + 1) * len
    }
}

/// Scores to weights.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let most = simd.splat_f32s(most);
    update(
        simd,
        scores,
        [],
        #[inline(always)]
        |score, []| exp(simd, simd.sub_f32s(score, most)),
    );
    let total = sum(
        simd,
        [scores],
        #[inline(always)]
        |sum, [x]| simd.add_f32s(sum, x),
    );
    scale(simd, scores, 1.0 / total);
}

/// What one head of keys and values does over one sequence.
#[derive(Clone, Copy)]
struct Part<'a> {
    attend: &'a Attend,
    /// Queries, keys and values of all sequences.
    rows: &'a [f32],
    span: Span,
    head: usize,
}

struct Forward<'a> {
    attend: &'a Attend,
    rows: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { attend, rows } = self;
        let (d, width) = (attend.d_head, attend.heads * attend.d_head);
        let mut out = Vec::with_capacity(attend.rows() * width);
        for &span in attend.spans.iter() {
            let mut to = Buffer::new(span.len * width);
            for head in 0..attend.kv_heads {
                let keys = Keys::new(attend, rows, span, head);
                for of_tile in Tile::rows(span) {
                    let tile = Tile::new(simd, Part { attend, rows, span, head }, &keys, of_tile, false);
                    let to = &mut to[tile.rows.start * width..tile.rows.end * width];
                    let values = Matrix::new(&keys.values[tile.seen.start * d..tile.seen.end * d], d);
                    for member in 0..attend.group() {
                        let first = (head * attend.group() + member) * d;
                        let weights = Matrix::new(&tile.weights[tile.of_member(member)], tile.seen.len());
                        MatrixMut::new(to, width).columns(first..first + d).set_product(weights, values);
                    }
                }
            }
            out.extend_from_slice(&to);
        }
        out
    }
}

struct Backward<'a> {
    attend: &'a Attend,
    rows: &'a [f32],
    gradient: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { attend, rows, gradient } = self;
        let mut out = vec![0.0; rows.len()];
        for &span in attend.spans.iter() {
            for head in 0..attend.kv_heads {
                Part { attend, rows, span, head }.gradient(simd, gradient, &mut out);
            }
        }
        out
    }
}

impl Part<'_> {
    /// Adds the gradients of the head of keys and values, and of its queries.
    #[inline(always)]
    fn gradient<S: Simd>(self, simd: S, gradient: &[f32], out: &mut [f32]) {
        let Self { attend, rows, span, head } = self;
        let (d, len, n_keys) = (attend.d_head, attend.row_len(), span.before() + span.len);
        let keys = Keys::new(attend, rows, span, head);
        let [mut of_keys, mut of_values] = [n_keys * d; 2].map(Buffer::new);
        of_keys.fill(0.0);
        of_values.fill(0.0);
        for of_tile in Tile::rows(span) {
            let tile = Tile::new(simd, self, &keys, of_tile, true);
            self.tile_gradient(simd, &tile, &keys, gradient, [&mut of_keys, &mut of_values], out);
        }
        let cells = of_keys.chunks_exact_mut(d).zip(of_values.chunks_exact(d));
        for ((row, position), (key, value)) in attend.keys(span).zip(cells) {
            rotate(attend, key, position, true);
            let row = &mut out[row * len..][..len];
            add(simd, &mut row[(attend.heads + head) * d..][..d], key);
            add(simd, &mut row[(attend.heads + attend.kv_heads + head) * d..][..d], value);
        }
    }

    /// Adds the gradients of a tile's keys and values, and writes those of its queries.
    #[inline(always)]
    fn tile_gradient<S: Simd>(
        self,
        simd: S,
        tile: &Tile,
        keys: &Keys,
        gradient: &[f32],
        [of_keys, of_values]: [&mut [f32]; 2],
        out: &mut [f32],
    ) {
        let Self { attend, span, head, .. } = self;
        let (d, group, width) = (attend.d_head, attend.group(), attend.heads * attend.d_head);
        let (rows, n_seen) = (tile.rows.len(), tile.seen.len());
        let start = span.start + tile.rows.start;
        let gradient = Matrix::new(&gradient[start * width..(start + rows) * width], width);
        let seen = tile.seen.start * d..tile.seen.end * d;
        let (keys, values) = (Matrix::new(&keys.keys[seen.clone()], d), Matrix::new(&keys.values[seen.clone()], d));
        let [mut of_scores, mut of_queries] = [rows * n_seen, rows * d].map(Buffer::new);
        for member in 0..group {
            let first = (head * group + member) * d;
            let (weights, mixed) = (&tile.weights[tile.of_member(member)], gradient.columns(first..first + d));
            MatrixMut::new(&mut of_values[seen.clone()], d)
                .add_product(Matrix::new(weights, n_seen).transposed(), mixed);
            MatrixMut::new(&mut of_scores, n_seen).set_product(mixed, values.transposed());
            let capped = tile.capped.as_ref().map(|capped| &capped[tile.of_member(member)]);
            self.of_scores(simd, weights, capped, n_seen, &mut of_scores);
            let queries = Matrix::new(&tile.queries[member * rows * d..(member + 1) * rows * d], d);
            MatrixMut::new(&mut of_keys[seen.clone()], d)
                .add_product(Matrix::new(&of_scores, n_seen).transposed(), queries);
            MatrixMut::new(&mut of_queries, d).set_product(Matrix::new(&of_scores, n_seen), keys);
            scale(simd, &mut of_queries, attend.scale);
            for (row, query) in of_queries.chunks_exact_mut(d).enumerate() {
                rotate(attend, query, span.before() + tile.rows.start + row, true);
                out[(start + row) * attend.row_len() + first..][..d].copy_from_slice(query);
            }
        }
    }

    /// Gradients g of the weights p to those of the scores, p (g − Σ p g), and on through the cap: 1 − tanh².
    #[inline(always)]
    fn of_scores<S: Simd>(self, simd: S, weights: &[f32], capped: Option<&[f32]>, n_seen: usize, of: &mut [f32]) {
        for (weights, of) in weights.chunks_exact(n_seen).zip(of.chunks_exact_mut(n_seen)) {
            let along = simd.splat_f32s(dot(simd, weights, of));
            update(
                simd,
                of,
                [weights],
                #[inline(always)]
                |g, [p]| simd.mul_f32s(p, simd.sub_f32s(g, along)),
            );
        }
        if let (Some(capped), Some(cap)) = (capped, self.attend.cap) {
            of.iter_mut().zip(capped).for_each(|(g, score)| *g *= 1.0 - (score / cap).powi(2));
        }
    }
}
