//! Causal softmax attention of one head over one sequence, with queries along the vector lanes.
//!
//! With features or keys as rows and queries as columns, every sum runs down the rows: no vector is summed within
//! itself, and keys that none of a vector's queries may see are left out. The last vector of a row reaches into the
//! columns behind it; lanes do not mix, so what it finds there changes nothing, and what it writes there is either
//! overwritten by the sequence that owns the columns or lies in the padding of [`stride`].

use std::ops::Range;

use pulp::Simd;

use super::buffer::Buffer;
use super::kernels::exp;

/// The most lanes of any instruction set.
const LANES: usize = 16;

/// Elements from one row of features to the next: room for a whole vector at the last token, and an odd multiple of
/// a cache line, so that the rows do not compete for the same places in the cache.
pub(super) fn stride(tokens: usize) -> usize {
    (tokens + LANES - 1).next_multiple_of(LANES) | LANES
}

/// The rows of one head, at the columns of one sequence, in a matrix of features by tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// From the head's first feature and the sequence's first token on.
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

/// As [`Head`], to be written.
#[derive(Debug)]
pub(super) struct HeadMut<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
}

/// The size of a head.
#[derive(Debug)]
pub(super) struct Attention {
    d_head: usize,
    keys: usize,
    queries: usize,
    /// Query i stands at token i·`every` and sees the keys up to there.
    every: usize,
    /// The token of every query.
    tokens: Buffer,
}

/// Working memory of the gradient.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Of the weights, then of the scores, `[keys, stride(queries)]`.
    gradient: Buffer,
    /// `[queries, stride(keys)]`
    transposed: Buffer,
}

impl Attention {
    pub(super) fn new(d_head: usize, keys: usize, every: usize) -> Self {
        let queries = keys.div_ceil(every);
        let mut tokens = Buffer::new(stride(queries));
        tokens.iter_mut().enumerate().for_each(|(i, token)| *token = (i * every) as f32);
        Self { d_head, keys, queries, every, tokens }
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch { gradient: Buffer::new(self.n_weights()), transposed: Buffer::new(self.queries * stride(self.keys)) }
    }

    /// Elements of the attention weights of a head, `[keys, stride(queries)]`.
    pub(super) fn n_weights(&self) -> usize {
        self.keys * stride(self.queries)
    }

    /// mixed = v·p with p = softmax(kᵀq, over the keys each query sees). The scale 1/√`d_head` is already in q.
    #[inline(always)]
    pub(super) fn attend<S: Simd>(&self, simd: S, [q, k, v]: [Head<'_>; 3], weights: &mut [f32], mixed: HeadMut<'_>) {
        self.products_with_keys(simd, weights, k, q);
        self.softmax(simd, weights);
        self.mix_keys(simd, v, weights, mixed);
    }

    /// The gradients of q, k and v from that of `mixed`.
    #[inline(always)]
    pub(super) fn attend_gradient<S: Simd>(
        &self,
        simd: S,
        [q, k, v]: [Head<'_>; 3],
        weights: &[f32],
        mixed: Head<'_>,
        [of_q, of_k, of_v]: [HeadMut<'_>; 3],
        Scratch { gradient, transposed }: &mut Scratch,
    ) {
        self.products_with_keys(simd, gradient, v, mixed);
        self.softmax_gradient(simd, gradient, weights);
        self.mix_keys(simd, k, gradient, of_q);
        self.mix_queries(simd, q, gradient, transposed, of_k);
        self.mix_queries(simd, mixed, weights, transposed, of_v);
    }

    /// out\[key\]\[query\] = keyᵀ·query, zero where no query of a tile sees the key.
    #[inline(always)]
    fn products_with_keys<S: Simd>(&self, simd: S, out: &mut [f32], keys: Head<'_>, queries: Head<'_>) {
        let out = HeadMut { data: out, stride: stride(self.queries) };
        product(
            simd,
            out,
            [self.keys, self.queries],
            Left { data: keys.data, row: 1, column: keys.stride },
            queries,
            #[inline(always)]
            |keys, queries| {
                let seen = (queries.end - 1) * self.every >= keys.start;
                0..if seen { self.d_head } else { 0 }
            },
        );
    }

    /// to\[feature\]\[query\] = Σ over the keys it sees of from\[feature\]\[key\]·weights\[key\]\[query\]
    #[inline(always)]
    fn mix_keys<S: Simd>(&self, simd: S, from: Head<'_>, weights: &[f32], to: HeadMut<'_>) {
        product(
            simd,
            to,
            [self.d_head, self.queries],
            Left { data: from.data, row: from.stride, column: 1 },
            Head { data: weights, stride: stride(self.queries) },
            #[inline(always)]
            |_, queries| 0..self.keys.min((queries.end - 1) * self.every + 1),
        );
    }

    /// to\[feature\]\[key\] = Σ over the queries that see the key of from\[feature\]\[query\]·weights\[key\]\[query\]
    #[inline(always)]
    fn mix_queries<S: Simd>(&self, simd: S, from: Head<'_>, weights: &[f32], transposed: &mut [f32], to: HeadMut<'_>) {
        let stride_of_keys = stride(self.keys);
        for (i, row) in transposed.chunks_exact_mut(stride_of_keys).enumerate() {
            let (seen, rest) = row.split_at_mut(self.keys.min(i * self.every + 1));
            for (to, weight) in seen.iter_mut().zip(weights[i..].iter().step_by(stride(self.queries))) {
                *to = *weight;
            }
            rest.fill(0.0);
        }
        product(
            simd,
            to,
            [self.d_head, self.keys],
            Left { data: from.data, row: from.stride, column: 1 },
            Head { data: transposed, stride: stride_of_keys },
            #[inline(always)]
            |_, keys| keys.start.div_ceil(self.every).min(self.queries)..self.queries,
        );
    }

    /// Scores to weights, column by column; what a query does not see gets 0.
    #[inline(always)]
    fn softmax<S: Simd>(&self, simd: S, scores: &mut [f32]) {
        let (tokens, scores) = (S::as_simd_f32s(&self.tokens).0, S::as_mut_simd_f32s(scores).0);
        let (width, lowest, zero) = (tokens.len(), simd.splat_f32s(f32::NEG_INFINITY), simd.splat_f32s(0.0));
        for (vector, tokens) in tokens[..self.queries.div_ceil(S::F32_LANES)].iter().enumerate() {
            let seen = self.keys.min(((vector + 1) * S::F32_LANES - 1) * self.every + 1);
            let mut most = lowest;
            for key in 0..seen {
                let visible = simd.less_than_or_equal_f32s(simd.splat_f32s(key as f32), *tokens);
                let score = &mut scores[key * width + vector];
                *score = simd.select_f32s(visible, *score, lowest);
                most = simd.max_f32s(most, *score);
            }
            let mut sum = zero;
            for key in 0..seen {
                let visible = simd.less_than_or_equal_f32s(simd.splat_f32s(key as f32), *tokens);
                let score = &mut scores[key * width + vector];
                *score = simd.select_f32s(visible, exp(simd, simd.sub_f32s(*score, most)), zero);
                sum = simd.add_f32s(sum, *score);
            }
            let factor = simd.div_f32s(simd.splat_f32s(1.0), sum);
            for key in 0..seen {
                let weight = &mut scores[key * width + vector];
                *weight = simd.mul_f32s(*weight, factor);
            }
            for key in seen..self.keys {
                scores[key * width + vector] = zero;
            }
        }
    }

    /// Gradients g of the weights p to those of the scores, p (g − Σ p g), column by column.
    #[inline(always)]
    fn softmax_gradient<S: Simd>(&self, simd: S, gradient: &mut [f32], weights: &[f32]) {
        let (gradient, weights) = (S::as_mut_simd_f32s(gradient).0, S::as_simd_f32s(weights).0);
        let width = stride(self.queries) / S::F32_LANES;
        for vector in 0..self.queries.div_ceil(S::F32_LANES) {
            let seen = self.keys.min(((vector + 1) * S::F32_LANES - 1) * self.every + 1);
            let mut sum = simd.splat_f32s(0.0);
            for key in 0..seen {
                sum = simd.mul_add_e_f32s(weights[key * width + vector], gradient[key * width + vector], sum);
            }
            for key in 0..self.keys {
                let gradient = &mut gradient[key * width + vector];
                *gradient = simd.mul_f32s(weights[key * width + vector], simd.sub_f32s(*gradient, sum));
            }
        }
    }
}

/// The left factor of [`product`]: element (r, c) lies at r·`row` + c·`column`.
#[derive(Clone, Copy)]
struct Left<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

/// out = left · right, `[rows, columns]`, in tiles of 4 rows by 2 vectors that stay in registers. `reach(rows,
/// columns)` says which columns of `left` matter to a tile; the others count as zero.
#[inline(always)]
fn product<S: Simd>(
    simd: S,
    out: HeadMut<'_>,
    [rows, columns]: [usize; 2],
    left: Left<'_>,
    right: Head<'_>,
    reach: impl Fn(Range<usize>, Range<usize>) -> Range<usize>,
) {
    let vectors = columns.div_ceil(S::F32_LANES);
    let mut row = 0;
    while row < rows {
        let height = if rows - row >= 4 { 4 } else { 1 };
        let left = Left { data: &left.data[row * left.row..], ..left };
        let mut vector = 0;
        while vector < vectors {
            let across = if vectors - vector >= 2 { 2 } else { 1 };
            let first = vector * S::F32_LANES;
            let inner = reach(row..row + height, first..first + across * S::F32_LANES);
            let out = HeadMut { data: &mut out.data[row * out.stride + first..], ..out };
            let right = Head { data: &right.data[first..], ..right };
            match (height, across) {
                (4, 2) => tile::<S, 4, 2>(simd, out, inner, left, right),
                (4, _) => tile::<S, 4, 1>(simd, out, inner, left, right),
                (_, 2) => tile::<S, 1, 2>(simd, out, inner, left, right),
                (_, _) => tile::<S, 1, 1>(simd, out, inner, left, right),
            }
            vector += across;
        }
        row += height;
    }
}

#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    out: HeadMut<'_>,
    inner: Range<usize>,
    left: Left<'_>,
    right: Head<'_>,
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for k in inner {
        let (left_column, right) = (&left.data[k * left.column..], &right.data[k * right.stride..]);
        let right = &S::as_simd_f32s(&right[..V * S::F32_LANES]).0[..V];
        for (r, sums) in sums.iter_mut().enumerate() {
            let left = simd.splat_f32s(left_column[r * left.row]);
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f32s(left, *right, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let out = &mut out.data[r * out.stride..][..V * S::F32_LANES];
        S::as_mut_simd_f32s(out).0.copy_from_slice(sums);
    }
}
