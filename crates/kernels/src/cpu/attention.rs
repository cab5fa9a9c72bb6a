//! Causal softmax attention of one head, with sequences along the vector lanes.
//!
//! In every matrix here sequences stand next to each other, then come tokens: one vector holds the same number of
//! several sequences. So attention is plain arithmetic on whole vectors: nothing is summed or moved within one, and a
//! key that a query does not see costs nothing. The last vector of a token reaches into the token behind it; what it
//! reads there changes nothing, since lanes do not mix, and it writes only its own part.

use std::ops::Range;

use pulp::Simd;

use super::rows::exp;
use crate::Geometry;

/// The most lanes of any instruction set.
pub(super) const LANES: usize = 16;

/// Elements from one row of features to the next: room for a whole vector at the last column, and an odd multiple of
/// a cache line, so that the rows do not compete for the same places in the cache.
pub(super) fn stride(columns: usize) -> usize {
    (columns + LANES - 1).next_multiple_of(LANES) | LANES
}

impl Geometry {
    /// What queries are multiplied with.
    pub(super) fn attention_scale(&self) -> f32 {
        1.0 / (self.d_head() as f32).sqrt()
    }

    pub(super) fn attention(&self, sequences: usize) -> Attention {
        Attention { sequences, d_head: self.d_head(), keys: self.tokens, every: self.every }
    }
}

/// The features of one head as rows, with a column for every token and, within it, every sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

/// As [`Head`], to be written.
#[derive(Debug)]
pub(super) struct HeadMut<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
}

/// The size of a head over some sequences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    pub(super) sequences: usize,
    pub(super) d_head: usize,
    pub(super) keys: usize,
    /// Query i stands at token i·`every` and sees the keys up to there.
    pub(super) every: usize,
}

impl Attention {
    fn queries(&self) -> usize {
        self.keys.div_ceil(self.every)
    }

    /// Keys that a query sees.
    fn seen(&self, query: usize) -> usize {
        self.keys.min(query * self.every + 1)
    }

    /// Elements of the attention weights of a head, `[queries, keys, sequences]`, and room for a whole vector.
    pub(super) fn n_weights(&self) -> usize {
        self.queries() * self.keys * self.sequences + LANES
    }

    /// mixed = v·p with p = softmax(qᵀk, over the keys each query sees). The scale 1/√`d_head` is already in q.
    #[inline(always)]
    pub(super) fn attend<S: Simd>(
        &self,
        simd: S,
        [q, k, v]: [Head<'_>; 3],
        weights: &mut [f32],
        mut mixed: HeadMut<'_>,
    ) {
        for first in (0..self.sequences).step_by(S::F32_LANES) {
            let at = self.vector(simd, first);
            at.products(q, k, weights);
            at.softmax(weights);
            at.mix_keys(v, weights, &mut mixed);
        }
    }

    /// The gradients of q, k and v from that of `mixed`; `scratch` is as long as the weights.
    #[inline(always)]
    pub(super) fn attend_gradient<S: Simd>(
        &self,
        simd: S,
        [q, k, v]: [Head<'_>; 3],
        weights: &[f32],
        mixed: Head<'_>,
        [mut of_q, mut of_k, mut of_v]: [HeadMut<'_>; 3],
        scratch: &mut [f32],
    ) {
        for first in (0..self.sequences).step_by(S::F32_LANES) {
            let at = self.vector(simd, first);
            at.products(mixed, v, scratch);
            at.softmax_gradient(weights, scratch);
            at.mix_keys(k, scratch, &mut of_q);
            at.mix_queries(q, scratch, &mut of_k);
            at.mix_queries(mixed, weights, &mut of_v);
        }
    }

    fn vector<S: Simd>(&self, simd: S, first: usize) -> Vector<S> {
        Vector { simd, first, lanes: S::F32_LANES.min(self.sequences - first), attention: *self }
    }
}

/// Attention over the sequences of one vector.
#[derive(Clone, Copy)]
struct Vector<S> {
    simd: S,
    first: usize,
    /// Sequences in the vector.
    lanes: usize,
    attention: Attention,
}

impl<S: Simd> Vector<S> {
    /// weights\[query\]\[key\] = Σ over the features, where a query of the tile sees a key of it.
    #[inline(always)]
    fn products(self, queries: Head<'_>, keys: Head<'_>, weights: &mut [f32]) {
        let attention = self.attention;
        self.product(
            weights,
            self.steps_of_weights(),
            [attention.queries(), attention.keys],
            Cells { data: queries.data, steps: self.steps(queries.stride).transposed() },
            Cells { data: keys.data, steps: self.steps(keys.stride) },
            #[inline(always)]
            |queries, keys| 0..if keys.start < attention.seen(queries.end - 1) { attention.d_head } else { 0 },
        );
    }

    /// to\[feature\]\[query\] = Σ over the keys it sees of from\[feature\]\[key\]·weights\[query\]\[key\]
    #[inline(always)]
    fn mix_keys(self, from: Head<'_>, weights: &[f32], to: &mut HeadMut<'_>) {
        let attention = self.attention;
        self.product(
            to.data,
            self.steps(to.stride),
            [attention.d_head, attention.queries()],
            Cells { data: from.data, steps: self.steps(from.stride) },
            Cells { data: weights, steps: self.steps_of_weights().transposed() },
            #[inline(always)]
            |_, queries| 0..attention.seen(queries.end - 1),
        );
    }

    /// to\[feature\]\[key\] = Σ over the queries that see it of from\[feature\]\[query\]·weights\[query\]\[key\]
    #[inline(always)]
    fn mix_queries(self, from: Head<'_>, weights: &[f32], to: &mut HeadMut<'_>) {
        let attention = self.attention;
        self.product(
            to.data,
            self.steps(to.stride),
            [attention.d_head, attention.keys],
            Cells { data: from.data, steps: self.steps(from.stride) },
            Cells { data: weights, steps: self.steps_of_weights() },
            #[inline(always)]
            |_, keys| keys.start.div_ceil(attention.every).min(attention.queries())..attention.queries(),
        );
    }

    /// Scores to weights, query by query, and zeros where only a later query of a tile sees the key.
    #[inline(always)]
    fn softmax(self, weights: &mut [f32]) {
        let (simd, steps) = (self.simd, self.steps_of_weights());
        for query in 0..self.attention.queries() {
            let row = &mut weights[query * steps.row..];
            let seen = self.attention.seen(query);
            let mut most = simd.splat_f32s(f32::NEG_INFINITY);
            for key in 0..seen {
                most = simd.max_f32s(most, self.load(row, key * steps.column));
            }
            let mut sum = simd.splat_f32s(0.0);
            for key in 0..seen {
                let power = exp(simd, simd.sub_f32s(self.load(row, key * steps.column), most));
                self.store(row, key * steps.column, power);
                sum = simd.add_f32s(sum, power);
            }
            let factor = simd.div_f32s(simd.splat_f32s(1.0), sum);
            for key in 0..seen {
                let power = self.load(row, key * steps.column);
                self.store(row, key * steps.column, simd.mul_f32s(power, factor));
            }
            self.clear(row, seen);
        }
    }

    /// Gradients g of the weights p to those of the scores, p (g − Σ p g), query by query.
    #[inline(always)]
    fn softmax_gradient(self, weights: &[f32], gradient: &mut [f32]) {
        let (simd, steps) = (self.simd, self.steps_of_weights());
        for query in 0..self.attention.queries() {
            let (weights, gradient) = (&weights[query * steps.row..], &mut gradient[query * steps.row..]);
            let seen = self.attention.seen(query);
            let mut sum = simd.splat_f32s(0.0);
            for key in (0..seen).map(|key| key * steps.column) {
                sum = simd.mul_add_e_f32s(self.load(weights, key), self.load(gradient, key), sum);
            }
            for key in (0..seen).map(|key| key * steps.column) {
                let change = simd.sub_f32s(self.load(gradient, key), sum);
                self.store(gradient, key, simd.mul_f32s(self.load(weights, key), change));
            }
            self.clear(gradient, seen);
        }
    }

    /// Zeros behind the keys that a query sees, as far as a tile that holds the next query too can reach.
    #[inline(always)]
    fn clear(self, row: &mut [f32], seen: usize) {
        for key in seen..self.attention.keys.min(seen + self.attention.every) {
            self.store(row, key * self.attention.sequences, self.simd.splat_f32s(0.0));
        }
    }

    /// out = left · right, `[rows, columns]`, in tiles of 4 by 2 vectors that stay in registers. `reach(rows, columns)`
    /// says which columns of `left` matter to a tile; the others count as zero.
    #[inline(always)]
    fn product(
        self,
        out: &mut [f32],
        steps: Steps,
        [rows, columns]: [usize; 2],
        left: Cells<'_>,
        right: Cells<'_>,
        reach: impl Fn(Range<usize>, Range<usize>) -> Range<usize>,
    ) {
        let mut row = 0;
        while row < rows {
            let height = [1, 1, 2, 2, 4][4.min(rows - row)];
            let mut column = 0;
            while column < columns {
                let width = 2.min(columns - column);
                let inner = reach(row..row + height, column..column + width);
                let out = &mut out[row * steps.row + column * steps.column..];
                let (left, right) = (left.from(row * left.steps.row), right.from(column * right.steps.column));
                match (height, width) {
                    (4, 2) => self.tile::<4, 2>(out, steps, inner, left, right),
                    (4, _) => self.tile::<4, 1>(out, steps, inner, left, right),
                    (2, 2) => self.tile::<2, 2>(out, steps, inner, left, right),
                    (2, _) => self.tile::<2, 1>(out, steps, inner, left, right),
                    (_, 2) => self.tile::<1, 2>(out, steps, inner, left, right),
                    (_, _) => self.tile::<1, 1>(out, steps, inner, left, right),
                }
                column += width;
            }
            row += height;
        }
    }

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(
        self,
        out: &mut [f32],
        steps: Steps,
        inner: Range<usize>,
        left: Cells<'_>,
        right: Cells<'_>,
    ) {
        let mut sums = [[self.simd.splat_f32s(0.0); C]; R];
        for k in inner {
            let (left_column, right_row) = (left.from(k * left.steps.column), right.from(k * right.steps.row));
            for c in 0..C {
                let factor = self.load(right_row.data, c * right.steps.column);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let other = self.load(left_column.data, r * left.steps.row);
                    sums[c] = self.simd.mul_add_e_f32s(other, factor, sums[c]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (c, sum) in sums.iter().enumerate() {
                self.store(out, r * steps.row + c * steps.column, *sum);
            }
        }
    }

    /// From one feature to the next, and from one token to the next.
    fn steps(self, stride: usize) -> Steps {
        Steps { row: stride, column: self.attention.sequences }
    }

    /// From one query to the next, and from one key to the next.
    fn steps_of_weights(self) -> Steps {
        let Attention { keys, sequences, .. } = self.attention;
        Steps { row: keys * sequences, column: sequences }
    }

    #[inline(always)]
    fn load(self, data: &[f32], at: usize) -> S::f32s {
        S::as_simd_f32s(&data[at + self.first..][..S::F32_LANES]).0[0]
    }

    #[inline(always)]
    fn store(self, data: &mut [f32], at: usize, value: S::f32s) {
        let to = &mut data[at + self.first..];
        if self.lanes == S::F32_LANES {
            S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0] = value;
        } else {
            self.simd.partial_store_f32s(&mut to[..self.lanes], value);
        }
    }
}

/// How far apart neighbours are in a matrix whose elements are the values of all sequences.
#[derive(Clone, Copy)]
struct Steps {
    row: usize,
    column: usize,
}

impl Steps {
    fn transposed(self) -> Self {
        Self { row: self.column, column: self.row }
    }
}

#[derive(Clone, Copy)]
struct Cells<'a> {
    data: &'a [f32],
    steps: Steps,
}

impl Cells<'_> {
    #[inline(always)]
    fn from(self, first: usize) -> Self {
        Self { data: &self.data[first..], ..self }
    }
}
