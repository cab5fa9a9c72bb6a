//! Attention of sequences of different lengths, one head of keys and values at a time, by matrix products.

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffer::Buffer;
use crate::cpu::product::{Matrix, MatrixMut};
use crate::cpu::rows::{add, dot, exp, scale, sum, update};
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

/// Queries of a group, `[group, rows, d_head]`, with keys and values, `[keys, d_head]`, of one head over one sequence.
struct Head {
    queries: Buffer,
    keys: Buffer,
    values: Buffer,
    /// The attention weights, `[group, rows, keys]`.
    weights: Buffer,
    /// With a cap c, the scores over it as c·tanh gave them: what its gradient needs.
    capped: Option<Buffer>,
}

impl Head {
    #[inline(always)]
    fn new<S: Simd>(simd: S, attend: &Attend, rows: &[f32], span: Span, head: usize, save: bool) -> Self {
        let (d, group, n_keys) = (attend.d_head, attend.group(), span.before() + span.len);
        let (mut keys, mut values) = (Buffer::new(n_keys * d), Buffer::new(n_keys * d));
        let cells = keys.chunks_exact_mut(d).zip(values.chunks_exact_mut(d));
        for ((row, position), (key, value)) in attend.keys(span).zip(cells) {
            let row = &rows[row * attend.row_len()..][..attend.row_len()];
            key.copy_from_slice(&row[(attend.heads + head) * d..][..d]);
            rotate(attend, key, position, false);
            value.copy_from_slice(&row[(attend.heads + attend.kv_heads + head) * d..][..d]);
        }
        let mut queries = Buffer::new(group * span.len * d);
        for (at, query) in queries.chunks_exact_mut(d).enumerate() {
            let (member, row) = (at / span.len, at % span.len);
            let from = (span.start + row) * attend.row_len() + (head * group + member) * d;
            query.copy_from_slice(&rows[from..from + d]);
            rotate(attend, query, span.before() + row, false);
        }
        scale(simd, &mut queries, attend.scale);
        let mut weights = Buffer::new(group * span.len * n_keys);
        MatrixMut::new(&mut weights, n_keys).set_product(Matrix::new(&queries, d), Matrix::new(&keys, d).transposed());
        let mut capped = None;
        if let Some(cap) = attend.cap {
            weights.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
            if save {
                let mut kept = Buffer::new(weights.len());
                kept.copy_from_slice(&weights);
                capped = Some(kept);
            }
        }
        for (at, scores) in weights.chunks_exact_mut(n_keys).enumerate() {
            let seen = attend.seen(span.before() + at % span.len);
            scores[..seen.start].fill(0.0);
            scores[seen.end..].fill(0.0);
            softmax(simd, &mut scores[seen]);
        }
        Self { queries, keys, values, weights, capped }
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

struct Forward<'a> {
    attend: &'a Attend,
    rows: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { attend, rows } = self;
        let (d, group, width) = (attend.d_head, attend.group(), attend.heads * attend.d_head);
        let mut out = Vec::with_capacity(attend.rows() * width);
        for &span in attend.spans.iter() {
            let mut to = Buffer::new(span.len * width);
            for head in 0..attend.kv_heads {
                let at = Head::new(simd, attend, rows, span, head, false);
                let n_keys = span.before() + span.len;
                for (member, weights) in at.weights.chunks_exact(span.len * n_keys).enumerate() {
                    let first = (head * group + member) * d;
                    MatrixMut::new(&mut to, width)
                        .columns(first..first + d)
                        .set_product(Matrix::new(weights, n_keys), Matrix::new(&at.values, d));
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
        let mut out = vec![0.0; self.rows.len()];
        for &span in self.attend.spans.iter() {
            for head in 0..self.attend.kv_heads {
                self.of_head(simd, span, head, &mut out);
            }
        }
        out
    }
}

impl Backward<'_> {
    /// Adds the gradients of one head of keys and values, and of its queries.
    #[inline(always)]
    fn of_head<S: Simd>(&self, simd: S, span: Span, head: usize, out: &mut [f32]) {
        let attend = self.attend;
        let (d, group, width, len) = (attend.d_head, attend.group(), attend.heads * attend.d_head, attend.row_len());
        let n_keys = span.before() + span.len;
        let at = Head::new(simd, attend, self.rows, span, head, true);
        let gradient = &self.gradient[span.start * width..][..span.len * width];
        let [mut of_keys, mut of_values] = [n_keys * d; 2].map(Buffer::new);
        of_keys.fill(0.0);
        of_values.fill(0.0);
        let mut of_scores = Buffer::new(span.len * n_keys);
        let mut of_queries = Buffer::new(span.len * d);
        for member in 0..group {
            let block = member * span.len * n_keys..(member + 1) * span.len * n_keys;
            let first = (head * group + member) * d;
            let (weights, mixed) = (&at.weights[block.clone()], Matrix::new(gradient, width).columns(first..first + d));
            MatrixMut::new(&mut of_values, d).add_product(Matrix::new(weights, n_keys).transposed(), mixed);
            MatrixMut::new(&mut of_scores, n_keys).set_product(mixed, Matrix::new(&at.values, d).transposed());
            let capped = at.capped.as_ref().map(|capped| &capped[block]);
            self.of_scores(simd, weights, capped, n_keys, &mut of_scores);
            let queries = &at.queries[member * span.len * d..(member + 1) * span.len * d];
            MatrixMut::new(&mut of_keys, d)
                .add_product(Matrix::new(&of_scores, n_keys).transposed(), Matrix::new(queries, d));
            MatrixMut::new(&mut of_queries, d).set_product(Matrix::new(&of_scores, n_keys), Matrix::new(&at.keys, d));
            scale(simd, &mut of_queries, attend.scale);
            for (row, query) in of_queries.chunks_exact_mut(d).enumerate() {
                rotate(attend, query, span.before() + row, true);
                out[(span.start + row) * len + first..][..d].copy_from_slice(query);
            }
        }
        let cells = of_keys.chunks_exact_mut(d).zip(of_values.chunks_exact(d));
        for ((row, position), (key, value)) in attend.keys(span).zip(cells) {
            rotate(attend, key, position, true);
            let row = &mut out[row * len..][..len];
            add(simd, &mut row[(attend.heads + head) * d..][..d], key);
            add(simd, &mut row[(attend.heads + attend.kv_heads + head) * d..][..d], value);
        }
    }

    /// Gradients g of the weights p to those of the scores, p (g − Σ p g), and on through the cap: 1 − tanh².
    #[inline(always)]
    fn of_scores<S: Simd>(&self, simd: S, weights: &[f32], capped: Option<&[f32]>, n_keys: usize, of: &mut [f32]) {
        for (weights, of) in weights.chunks_exact(n_keys).zip(of.chunks_exact_mut(n_keys)) {
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
