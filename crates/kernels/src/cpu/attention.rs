//! Causal softmax attention of one head, with sequences along the vector lanes.
//!
//! In every matrix here sequences stand next to each other, then come tokens: one vector holds the same number of
//! several sequences. So attention is plain arithmetic on whole vectors: nothing is summed or moved within one, and a
//! key that a query does not see costs nothing. The last vector of a token reaches into the token behind it; what it
//! reads there changes nothing, since lanes do not mix, and it writes only its own part.
//!
//! Queries go in strips of so many, and only short sequences, of one strip, keep their attention weights for the backward
//! pass. Where there are more strips it computes them anew, to the same bits, so memory grows with the length of a sequence
//! and not with its square.

use std::ops::Range;

use pulp::Simd;

use super::gelu::exp;
use super::lanes::{Cells, Lanes, Steps, Sums};
use crate::Geometry;

/// The most lanes of any instruction set.
pub(super) const LANES: usize = 16;

/// Queries of a strip: a whole number of tiles.
const STRIP: usize = 128;

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
        let queries = self.tokens.div_ceil(self.every);
        Attention { sequences, d_head: self.d_head(), first_query: 0, queries, keys: self.tokens, every: self.every }
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

/// Some queries of a head over some sequences, and all of its keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    sequences: usize,
    d_head: usize,
    first_query: usize,
    queries: usize,
    keys: usize,
    /// Query i of all stands at token i·`every` and sees the keys up to there.
    every: usize,
}

impl Attention {
    /// Whether the weights of all queries are kept for the backward pass.
    pub(super) fn keeps_weights(&self) -> bool {
        self.queries <= STRIP
    }

    /// Elements of the attention weights of a head over the queries of a strip, `[queries, keys, sequences]`, and room for a
    /// whole vector.
    pub(super) fn n_weights(&self) -> usize {
        self.queries.min(STRIP) * self.keys * self.sequences + LANES
    }

    /// mixed = v·p with p = softmax(qᵀk, over the keys each query sees). The scale 1/√`d_head` is already in q. `weights`
    /// are p afterwards, of the last strip.
    #[inline(always)]
    pub(super) fn attend<S: Simd>(
        &self,
        simd: S,
        [q, k, v]: [Head<'_>; 3],
        weights: &mut [f32],
        mut mixed: HeadMut<'_>,
    ) {
        for at in self.pieces(simd) {
            at.weigh(q, k, weights);
            at.mix_keys(v, weights, &mut mixed);
        }
    }

    /// The gradients of q, k and v from that of `mixed`, where the forward pass kept its weights or else with room to compute
    /// them anew; `scratch` is as long.
    #[inline(always)]
    pub(super) fn attend_gradient<S: Simd>(
        &self,
        simd: S,
        [q, k, v]: [Head<'_>; 3],
        mut weights: Weights<'_>,
        mixed: Head<'_>,
        [mut of_q, mut of_k, mut of_v]: [HeadMut<'_>; 3],
        scratch: &mut [f32],
    ) {
        for at in self.pieces(simd) {
            let weights = match &mut weights {
                Weights::Kept(weights) => *weights,
                Weights::Anew(room) => {
                    at.weigh(q, k, room);
                    &**room
                }
            };
            at.products(mixed, v, scratch);
            at.softmax_gradient(weights, scratch);
            at.mix_keys(k, scratch, &mut of_q);
            at.mix_queries(q, scratch, &mut of_k);
            at.mix_queries(mixed, weights, &mut of_v);
        }
    }

    /// Every strip of queries, and in it every vector of sequences.
    fn pieces<S: Simd>(self, simd: S) -> impl Iterator<Item = Vector<S>> {
        let Self { sequences, queries, .. } = self;
        let strip = move |first: usize| Self { first_query: first, queries: STRIP.min(queries - first), ..self };
        let strips = (0..queries).step_by(STRIP).map(strip);
        strips.flat_map(move |attention| {
            let vectors = (0..sequences).step_by(S::F32_LANES);
            let of_lanes = move |first: usize| Lanes { simd, first, count: S::F32_LANES.min(sequences - first) };
            vectors.map(move |first| Vector { lanes: of_lanes(first), attention })
        })
    }

    /// Keys that a query of these sees.
    fn seen(&self, query: usize) -> usize {
        self.keys.min((self.first_query + query) * self.every + 1)
    }

    /// The queries of these that see a key.
    fn seeing(&self, key: usize) -> Range<usize> {
        key.div_ceil(self.every).saturating_sub(self.first_query).min(self.queries)..self.queries
    }
}

/// Attention weights in the backward pass.
#[derive(Debug)]
pub(super) enum Weights<'a> {
    /// Of the forward pass.
    Kept(&'a [f32]),
    /// Room for those of a strip.
    Anew(&'a mut [f32]),
}

/// Attention of a strip of queries over the sequences of one vector.
#[derive(Clone, Copy)]
struct Vector<S> {
    lanes: Lanes<S>,
    attention: Attention,
}

impl<S: Simd> Vector<S> {
    /// What every query makes of the keys that it sees.
    #[inline(always)]
    fn weigh(self, q: Head<'_>, k: Head<'_>, weights: &mut [f32]) {
        self.products(q, k, weights);
        self.softmax(weights);
    }

    /// weights\[query\]\[key\] = Σ over the features, where a query of the tile sees a key of it.
    #[inline(always)]
    fn products(self, queries: Head<'_>, keys: Head<'_>, weights: &mut [f32]) {
        let attention = self.attention;
        self.lanes.product(
            Sums { to: weights, steps: self.steps_of_weights(), go_on: false },
            [attention.queries, attention.keys],
            self.queries(queries).transposed(),
            Cells { data: keys.data, steps: self.steps(keys.stride) },
            #[inline(always)]
            |queries, keys| 0..if keys.start < attention.seen(queries.end - 1) { attention.d_head } else { 0 },
        );
    }

    /// to\[feature\]\[query\] = Σ over the keys it sees of from\[feature\]\[key\]·weights\[query\]\[key\]
    #[inline(always)]
    fn mix_keys(self, from: Head<'_>, weights: &[f32], to: &mut HeadMut<'_>) {
        let attention = self.attention;
        self.lanes.product(
            Sums { to: &mut to.data[self.first_query()..], steps: self.steps(to.stride), go_on: false },
            [attention.d_head, attention.queries],
            Cells { data: from.data, steps: self.steps(from.stride) },
            Cells { data: weights, steps: self.steps_of_weights() }.transposed(),
            #[inline(always)]
            |_, queries| 0..attention.seen(queries.end - 1),
        );
    }

    /// to\[feature\]\[key\] = Σ over the queries that see it of from\[feature\]\[query\]·weights\[query\]\[key\], from strip to
    /// strip
    #[inline(always)]
    fn mix_queries(self, from: Head<'_>, weights: &[f32], to: &mut HeadMut<'_>) {
        let attention = self.attention;
        self.lanes.product(
            Sums { to: to.data, steps: self.steps(to.stride), go_on: attention.first_query > 0 },
            [attention.d_head, attention.keys],
            self.queries(from),
            Cells { data: weights, steps: self.steps_of_weights() },
            #[inline(always)]
            |_, keys| attention.seeing(keys.start),
        );
    }

    /// Scores to weights, query by query, and zeros where only a later query of a tile sees the key.
    #[inline(always)]
    fn softmax(self, weights: &mut [f32]) {
        let (lanes, simd, steps) = (self.lanes, self.lanes.simd, self.steps_of_weights());
        for query in 0..self.attention.queries {
            let row = &mut weights[query * steps.row..];
            let seen = self.attention.seen(query);
            let mut most = simd.splat_f32s(f32::NEG_INFINITY);
            for key in 0..seen {
                most = simd.max_f32s(most, lanes.load(row, key * steps.column));
            }
            let mut sum = simd.splat_f32s(0.0);
            for key in 0..seen {
                let power = exp(simd, simd.sub_f32s(lanes.load(row, key * steps.column), most));
                lanes.store(row, key * steps.column, power);
                sum = simd.add_f32s(sum, power);
            }
            let factor = simd.div_f32s(simd.splat_f32s(1.0), sum);
            for key in 0..seen {
                let power = lanes.load(row, key * steps.column);
                lanes.store(row, key * steps.column, simd.mul_f32s(power, factor));
            }
            self.clear(row, seen);
        }
    }

    /// Gradients g of the weights p to those of the scores, p (g − Σ p g), query by query.
    #[inline(always)]
    fn softmax_gradient(self, weights: &[f32], gradient: &mut [f32]) {
        let (lanes, simd, steps) = (self.lanes, self.lanes.simd, self.steps_of_weights());
        for query in 0..self.attention.queries {
            let (weights, gradient) = (&weights[query * steps.row..], &mut gradient[query * steps.row..]);
            let seen = self.attention.seen(query);
            let mut sum = simd.splat_f32s(0.0);
            for key in (0..seen).map(|key| key * steps.column) {
                sum = simd.mul_add_e_f32s(lanes.load(weights, key), lanes.load(gradient, key), sum);
            }
            for key in (0..seen).map(|key| key * steps.column) {
                let change = simd.sub_f32s(lanes.load(gradient, key), sum);
                lanes.store(gradient, key, simd.mul_f32s(lanes.load(weights, key), change));
            }
            self.clear(gradient, seen);
        }
    }

    /// Zeros behind the keys that a query sees, as far as a tile that holds the next query too can reach.
    #[inline(always)]
    fn clear(self, row: &mut [f32], seen: usize) {
        for key in seen..self.attention.keys.min(seen + self.attention.every) {
            self.lanes.store(row, key * self.attention.sequences, self.lanes.simd.splat_f32s(0.0));
        }
    }

    /// Where the strip's first query stands in a row of features.
    fn first_query(self) -> usize {
        self.attention.first_query * self.attention.sequences
    }

    /// The strip's queries, `[features, queries]`.
    fn queries(self, head: Head<'_>) -> Cells<'_> {
        Cells { data: &head.data[self.first_query()..], steps: self.steps(head.stride) }
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
}
