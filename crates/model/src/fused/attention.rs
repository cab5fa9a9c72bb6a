//! Causal softmax attention of one head over one sequence, with queries along the vector lanes.
//!
//! With features or keys as rows and queries as columns, every sum runs down the rows: no vector is summed within
//! itself, and keys that none of a vector's queries may see are left out.

use std::ops::Range;

use pulp::Simd;

use super::buffer::Buffer;
use super::kernels::exp;

/// The number of columns, rounded up to one that every instruction set divides into whole vectors.
pub(super) const fn padded(columns: usize) -> usize {
    columns.next_multiple_of(16)
}

/// One head of one sequence inside a matrix of features by tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// From the head's first feature and the sequence's first token on.
    pub(super) data: &'a [f32],
    /// Elements from one feature to the next.
    pub(super) stride: usize,
}

/// As [`Head`], to be written.
#[derive(Debug)]
pub(super) struct HeadMut<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
}

impl HeadMut<'_> {
    /// Takes over the first `tokens` columns of `rows`.
    #[inline(always)]
    fn store(self, rows: &[f32], columns: usize, tokens: usize) {
        for (d, row) in rows.chunks_exact(columns).enumerate() {
            self.data[d * self.stride..][..tokens].copy_from_slice(&row[..tokens]);
        }
    }
}

/// The size of a head, and its working memory.
#[derive(Debug)]
pub(super) struct Attention {
    d_head: usize,
    keys: usize,
    queries: usize,
    /// Query i stands at token i·`every` and sees the keys up to there.
    every: usize,
    /// The token of every query, of padded length.
    tokens: Buffer,
    /// Rows of queries.
    padded: Buffer,
    transposed: Buffer,
    rows: Buffer,
}

impl Attention {
    pub(super) fn new(d_head: usize, keys: usize, every: usize) -> Self {
        let queries = keys.div_ceil(every);
        let mut tokens = Buffer::new(padded(queries));
        tokens.iter_mut().enumerate().for_each(|(i, token)| *token = (i * every) as f32);
        Self {
            d_head,
            keys,
            queries,
            every,
            tokens,
            padded: Buffer::new(d_head * padded(queries)),
            transposed: Buffer::new(queries * padded(keys)),
            rows: Buffer::new(d_head * padded(keys)),
        }
    }

    /// Elements of the attention weights of a head, `[keys, padded(queries)]`.
    pub(super) fn n_weights(&self) -> usize {
        self.keys * padded(self.queries)
    }

    /// mixed = v·p with p = softmax(kᵀq, over the keys each query sees). The scale 1/√`d_head` is already in q.
    #[inline(always)]
    pub(super) fn attend<S: Simd>(
        &mut self,
        simd: S,
        [q, k, v]: [Head<'_>; 3],
        weights: &mut [f32],
        mixed: HeadMut<'_>,
    ) {
        let columns = padded(self.queries);
        pad(q, &mut self.padded, self.queries);
        self.products_with_keys(simd, weights, k, &self.padded);
        self.softmax(simd, weights);
        let rows = &mut self.rows[..self.d_head * columns];
        let seen = |queries: Range<usize>| 0..self.keys.min((queries.end - 1) * self.every + 1);
        product(
            simd,
            rows,
            columns,
            Features(v),
            weights,
            #[inline(always)]
            |_, queries| seen(queries),
        );
        mixed.store(rows, columns, self.queries);
    }

    /// The gradients of q, k and v from that of `mixed`.
    #[inline(always)]
    pub(super) fn attend_gradient<S: Simd>(
        &mut self,
        simd: S,
        [q, k, v]: [Head<'_>; 3],
        weights: &[f32],
        mixed: Head<'_>,
        [of_q, of_k, of_v]: [HeadMut<'_>; 3],
    ) {
        let columns = padded(self.queries);
        pad(mixed, &mut self.padded, self.queries);
        let mut scores = Buffer::new(self.n_weights());
        self.products_with_keys(simd, &mut scores, v, &self.padded);
        softmax_gradient(simd, &mut scores, weights, columns);
        let rows = &mut self.rows[..self.d_head * columns];
        let seen = |queries: Range<usize>| 0..self.keys.min((queries.end - 1) * self.every + 1);
        product(
            simd,
            rows,
            columns,
            Features(k),
            &scores,
            #[inline(always)]
            |_, queries| seen(queries),
        );
        of_q.store(rows, columns, self.queries);
        self.mix_queries(simd, q, &scores, of_k);
        self.mix_queries(simd, mixed, weights, of_v);
    }

    /// out\[key\]\[query\] = keyᵀ·query, zero where no query of a vector sees the key.
    #[inline(always)]
    fn products_with_keys<S: Simd>(&self, simd: S, out: &mut [f32], keys: Head<'_>, queries: &[f32]) {
        let reach = |keys: Range<usize>, queries: Range<usize>| {
            let seen = (queries.end - 1) * self.every >= keys.start;
            0..if seen { self.d_head } else { 0 }
        };
        product(simd, out, padded(self.queries), Tokens(keys), queries, reach);
    }

    /// to\[feature\]\[key\] = Σ over the queries that see the key of from\[feature\]\[query\]·weights\[key\]\[query\]
    #[inline(always)]
    fn mix_queries<S: Simd>(&mut self, simd: S, from: Head<'_>, weights: &[f32], to: HeadMut<'_>) {
        let columns = padded(self.keys);
        let stride = padded(self.queries);
        for (i, row) in self.transposed.chunks_exact_mut(columns).enumerate() {
            let (seen, rest) = row.split_at_mut(self.keys.min(i * self.every + 1));
            for (to, weight) in seen.iter_mut().zip(weights[i..].iter().step_by(stride)) {
                *to = *weight;
            }
            rest.fill(0.0);
        }
        let see = |keys: Range<usize>| keys.start.div_ceil(self.every).min(self.queries)..self.queries;
        product(
            simd,
            &mut self.rows,
            columns,
            Features(from),
            &self.transposed,
            #[inline(always)]
            |_, keys| see(keys),
        );
        to.store(&self.rows, columns, self.keys);
    }

    /// Scores to weights, column by column; what a query does not see gets 0.
    #[inline(always)]
    fn softmax<S: Simd>(&self, simd: S, scores: &mut [f32]) {
        let (tokens, scores) = (S::as_simd_f32s(&self.tokens).0, S::as_mut_simd_f32s(scores).0);
        let width = tokens.len();
        let zero = simd.splat_f32s(0.0);
        for (vector, tokens) in tokens.iter().enumerate() {
            let last = ((vector + 1) * S::F32_LANES - 1) * self.every;
            let seen = self.keys.min(last + 1);
            let mut most = simd.splat_f32s(f32::NEG_INFINITY);
            for key in 0..seen {
                let visible = simd.less_than_or_equal_f32s(simd.splat_f32s(key as f32), *tokens);
                let score = &mut scores[key * width + vector];
                *score = simd.select_f32s(visible, *score, simd.splat_f32s(f32::NEG_INFINITY));
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
}

/// Gradients of the weights p to those of the scores: p (g − Σ p g), column by column.
#[inline(always)]
fn softmax_gradient<S: Simd>(simd: S, gradient: &mut [f32], weights: &[f32], columns: usize) {
    let (gradient, weights) = (S::as_mut_simd_f32s(gradient).0, S::as_simd_f32s(weights).0);
    let width = columns / S::F32_LANES;
    for vector in 0..width {
        let mut sum = simd.splat_f32s(0.0);
        for at in (vector..weights.len()).step_by(width) {
            sum = simd.mul_add_e_f32s(weights[at], gradient[at], sum);
        }
        for at in (vector..weights.len()).step_by(width) {
            gradient[at] = simd.mul_f32s(weights[at], simd.sub_f32s(gradient[at], sum));
        }
    }
}

/// Copies the features into rows of padded length.
#[inline(always)]
fn pad(head: Head<'_>, to: &mut [f32], tokens: usize) {
    for (d, to) in to.chunks_exact_mut(padded(tokens)).enumerate() {
        let (to, rest) = to.split_at_mut(tokens);
        to.copy_from_slice(&head.data[d * head.stride..][..tokens]);
        rest.fill(0.0);
    }
}

/// The left factor of [`product`].
trait Left: Copy {
    /// Elements of `R` rows, from `row` on, in one column.
    fn column<const R: usize>(self, row: usize, column: usize) -> [f32; R];
}

/// A head with its features as rows.
#[derive(Clone, Copy)]
struct Features<'a>(Head<'a>);

/// A head with its tokens as rows.
#[derive(Clone, Copy)]
struct Tokens<'a>(Head<'a>);

impl Left for Features<'_> {
    #[inline(always)]
    fn column<const R: usize>(self, row: usize, column: usize) -> [f32; R] {
        std::array::from_fn(|r| self.0.data[(row + r) * self.0.stride + column])
    }
}

impl Left for Tokens<'_> {
    #[inline(always)]
    fn column<const R: usize>(self, row: usize, column: usize) -> [f32; R] {
        let tokens = &self.0.data[column * self.0.stride + row..][..R];
        std::array::from_fn(|r| tokens[r])
    }
}

/// out = left · right for row-major matrices of `columns` columns, in tiles of 4 rows by 2 vectors that stay in
/// registers. `reach(rows, columns)` says which columns of `left` matter to a tile; the others count as zero.
#[inline(always)]
fn product<S: Simd>(
    simd: S,
    out: &mut [f32],
    columns: usize,
    left: impl Left,
    right: &[f32],
    reach: impl Fn(Range<usize>, Range<usize>) -> Range<usize>,
) {
    let (width, rows) = (columns / S::F32_LANES, out.len() / columns);
    let (out, right) = (S::as_mut_simd_f32s(out).0, S::as_simd_f32s(right).0);
    let mut row = 0;
    while row < rows {
        let height = if rows - row >= 4 { 4 } else { 1 };
        let mut vector = 0;
        while vector < width {
            let across = if width - vector >= 2 { 2 } else { 1 };
            let inner = reach(row..row + height, vector * S::F32_LANES..(vector + across) * S::F32_LANES);
            let (out, right) = (&mut out[row * width + vector..], &right[vector..]);
            match (height, across) {
                (4, 2) => tile::<S, 4, 2>(
                    simd,
                    out,
                    width,
                    inner,
                    #[inline(always)]
                    |k| left.column(row, k),
                    right,
                ),
                (4, _) => tile::<S, 4, 1>(
                    simd,
                    out,
                    width,
                    inner,
                    #[inline(always)]
                    |k| left.column(row, k),
                    right,
                ),
                (_, 2) => tile::<S, 1, 2>(
                    simd,
                    out,
                    width,
                    inner,
                    #[inline(always)]
                    |k| left.column(row, k),
                    right,
                ),
                (_, _) => tile::<S, 1, 1>(
                    simd,
                    out,
                    width,
                    inner,
                    #[inline(always)]
                    |k| left.column(row, k),
                    right,
                ),
            }
            vector += across;
        }
        row += height;
    }
}

#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    out: &mut [S::f32s],
    width: usize,
    inner: Range<usize>,
    left: impl Fn(usize) -> [f32; R],
    right: &[S::f32s],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for k in inner {
        let (left, right) = (left(k), &right[k * width..][..V]);
        for (sums, left) in sums.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f32s(simd.splat_f32s(left), *right, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        out[r * width..][..V].copy_from_slice(sums);
    }
}
