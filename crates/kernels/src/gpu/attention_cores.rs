//! [`attention`](super::attention) on tensor cores. A plane works on sixteen queries and eight keys at a time, and in the
//! gradients of keys and values on sixteen keys and eight queries.

use cubecl::prelude::*;

use super::attention::{Heads, place};
use super::tensor_cores::{self, Tile, group, member, zeros};
use super::tiles::{COLUMNS, ROWS, add_weighted, lane_row, largest_of_four, rows, scores, store, sum_of_four};

/// How many numbers are read at a time, if tensor cores can take heads of this width.
pub(super) fn vector<R: Runtime>(client: &ComputeClient<R>, heads: &Heads) -> Option<usize> {
    let fits = |vector: &usize| heads.d_head.is_multiple_of(COLUMNS * vector);
    [4, 2].into_iter().find(fits).filter(|_| tensor_cores::available(client))
}

/// Weights of keys that a query does not see come from this score.
const UNSEEN: f32 = -1e30;

/// Turns this lane's two scores of a row, of the keys from `own` on, into weights: 0 for a key behind the row's token.
/// Where a larger score turns up, what was summed of the row is scaled down.
#[cube]
fn weigh(
    weights: &mut Tile,
    own: usize,
    token: usize,
    largest: &mut Array<f32>,
    totals: &mut Array<f32>,
    sums: &mut Sequence<Tile>,
    #[comptime] row: usize,
    #[comptime] tiles: usize,
) {
    let mut weight = weights[row];
    #[unroll]
    for column in 0..2usize {
        if own + column > token {
            weight[column] = f32::new(UNSEEN);
        }
    }
    let most = max(largest[row], largest_of_four(max(weight[0], weight[1])));
    let shrink = (largest[row] - most).exp();
    largest[row] = most;
    weight = (weight - Vector::new(most)).exp();
    totals[row] = totals[row] * shrink + weight[0] + weight[1];
    weights[row] = weight;
    #[unroll]
    for i in 0..tiles {
        let sum = sums.index_mut(i);
        sum[row] *= Vector::new(shrink);
    }
}

/// As [`attention`](super::attention::attention), to TF32.
#[cube(launch_unchecked)]
pub(super) fn attention<N: Size>(
    qkv: &Array<Vector<f32, N>>,
    mixed: &mut Array<Vector<f32, N>>,
    log_sums: &mut Array<f32>,
    #[comptime] heads: Heads,
) {
    let n = N::value();
    let (d_model, queries, tiles) = comptime!((heads.d_model() / n, heads.queries(), heads.d_head / COLUMNS));
    let place = place(heads, n);
    let (keys, values) = (place.qkv + d_model, place.qkv + 2 * d_model);
    let mut tile = UNIT_POS_Y as usize;
    while tile * ROWS < queries {
        let mut tokens = Array::<usize>::new(2usize);
        let (mut largest, mut totals) = (Array::<f32>::new(2usize), Array::<f32>::new(2usize));
        #[unroll]
        for row in 0..2usize {
            tokens[row] = clamp_max(lane_row(tile, row), queries - 1) * heads.every;
            largest[row] = f32::new(UNSEEN);
            totals[row] = 0.0f32;
        }
        let (first, second) = (place.qkv + tokens[0] * 3 * d_model, place.qkv + tokens[1] * 3 * d_model);
        let q = rows(qkv, first, second, heads.scale(), heads);
        let mut sums = zeros(tiles);
        let last = clamp_max(tile * ROWS + ROWS - 1, queries - 1) * heads.every;
        for columns in 0..last / COLUMNS + 1 {
            let key = clamp_max(columns * COLUMNS + group(), heads.tokens - 1);
            let mut weights = scores(&q, qkv, keys + key * 3 * d_model, heads);
            let own = columns * COLUMNS + 2 * member();
            #[unroll]
            for row in 0..2usize {
                weigh(&mut weights, own, tokens[row], &mut largest, &mut totals, &mut sums, row, tiles);
            }
            let first = values + clamp_max(own, heads.tokens - 1) * 3 * d_model;
            let second = values + clamp_max(own + 1, heads.tokens - 1) * 3 * d_model;
            add_weighted(&mut sums, &weights, qkv, first, second, heads);
        }
        #[unroll]
        for row in 0..2usize {
            let query = lane_row(tile, row);
            let total = sum_of_four(totals[row]);
            if query < queries {
                store(mixed, place.mixed + query * d_model, &sums, 1.0 / total, row, heads);
                if member() == 0 {
                    log_sums[place.log_sums + query] = largest[row] + total.ln();
                }
            }
        }
        tile += CUBE_DIM_Y as usize;
    }
}

/// As [`attention_gradient`](super::attention::attention_gradient), to TF32.
#[cube(launch_unchecked)]
pub(super) fn attention_gradient<N: Size>(
    qkv: &Array<Vector<f32, N>>,
    mixed: &Array<Vector<f32, N>>,
    log_sums: &Array<f32>,
    gradient: &Array<Vector<f32, N>>,
    qkv_gradient: &mut Array<Vector<f32, N>>,
    #[comptime] heads: Heads,
) {
    // Σ gradient · mixed of every query, which is Σ weight · (gradient of the weight).
    let mut expected = SharedMemory::<f32>::new(heads.queries());
    query_gradients(qkv, mixed, log_sums, gradient, qkv_gradient, &mut expected, heads);
    sync_cube();
    key_value_gradients(qkv, log_sums, gradient, qkv_gradient, &expected, heads);
}

/// A lane's share of a · b of one row.
#[cube]
fn dot<N: Size>(a: &Array<Vector<f32, N>>, b: &Array<Vector<f32, N>>, at: usize, #[comptime] heads: Heads) -> f32 {
    let n = N::value();
    let mut products = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for i in 0..comptime!(heads.d_head / 4 / n) {
        products += a[at + i * 4 + member()] * b[at + i * 4 + member()];
    }
    let mut total = 0.0f32;
    #[unroll]
    for i in 0..n {
        total += products[i];
    }
    total
}

#[cube]
fn query_gradients<N: Size>(
    qkv: &Array<Vector<f32, N>>,
    mixed: &Array<Vector<f32, N>>,
    log_sums: &Array<f32>,
    gradient: &Array<Vector<f32, N>>,
    qkv_gradient: &mut Array<Vector<f32, N>>,
    expected: &mut SharedMemory<f32>,
    #[comptime] heads: Heads,
) {
    let n = N::value();
    let (d_model, queries, tiles) = comptime!((heads.d_model() / n, heads.queries(), heads.d_head / COLUMNS));
    let place = place(heads, n);
    let (keys, values) = (place.qkv + d_model, place.qkv + 2 * d_model);
    let mut tile = UNIT_POS_Y as usize;
    while tile * ROWS < queries {
        let (mut tokens, mut from) = (Array::<usize>::new(2usize), Array::<usize>::new(2usize));
        let (mut means, mut sums_of_row) = (Array::<f32>::new(2usize), Array::<f32>::new(2usize));
        #[unroll]
        for row in 0..2usize {
            let query = clamp_max(lane_row(tile, row), queries - 1);
            tokens[row] = query * heads.every;
            from[row] = place.mixed + query * d_model;
            means[row] = sum_of_four(dot(gradient, mixed, from[row], heads));
            sums_of_row[row] = log_sums[place.log_sums + query];
            expected[query] = means[row];
        }
        let (first, second) = (place.qkv + tokens[0] * 3 * d_model, place.qkv + tokens[1] * 3 * d_model);
        let q = rows(qkv, first, second, heads.scale(), heads);
        let g = rows(gradient, from[0], from[1], 1.0, heads);
        let mut sums = zeros(tiles);
        let last = clamp_max(tile * ROWS + ROWS - 1, queries - 1) * heads.every;
        for columns in 0..last / COLUMNS + 1 {
            let key = clamp_max(columns * COLUMNS + group(), heads.tokens - 1);
            let mut slopes = scores(&q, qkv, keys + key * 3 * d_model, heads);
            let of_weights = scores(&g, qkv, values + key * 3 * d_model, heads);
            let own = columns * COLUMNS + 2 * member();
            #[unroll]
            for row in 0..2usize {
                let weight = (slopes[row] - Vector::new(sums_of_row[row])).exp();
                let mut slope = weight * (of_weights[row] - Vector::new(means[row]));
                #[unroll]
                for column in 0..2usize {
                    if own + column > tokens[row] {
                        slope[column] = 0.0f32;
                    }
                }
                slopes[row] = slope;
            }
            let first = keys + clamp_max(own, heads.tokens - 1) * 3 * d_model;
            let second = keys + clamp_max(own + 1, heads.tokens - 1) * 3 * d_model;
            add_weighted(&mut sums, &slopes, qkv, first, second, heads);
        }
        #[unroll]
        for row in 0..2usize {
            if lane_row(tile, row) < queries {
                store(qkv_gradient, place.qkv + tokens[row] * 3 * d_model, &sums, heads.scale(), row, heads);
            }
        }
        tile += CUBE_DIM_Y as usize;
    }
}

/// Also zeros for the queries of tokens that ask nothing.
#[cube]
fn key_value_gradients<N: Size>(
    qkv: &Array<Vector<f32, N>>,
    log_sums: &Array<f32>,
    gradient: &Array<Vector<f32, N>>,
    qkv_gradient: &mut Array<Vector<f32, N>>,
    expected: &SharedMemory<f32>,
    #[comptime] heads: Heads,
) {
    let n = N::value();
    let (d_model, queries, tiles) = comptime!((heads.d_model() / n, heads.queries(), heads.d_head / COLUMNS));
    let place = place(heads, n);
    let mut tile = UNIT_POS_Y as usize;
    while tile * ROWS < heads.tokens {
        let (upper, lower) = (lane_row(tile, 0usize), lane_row(tile, 1usize));
        let first = place.qkv + clamp_max(upper, heads.tokens - 1) * 3 * d_model;
        let second = place.qkv + clamp_max(lower, heads.tokens - 1) * 3 * d_model;
        let k = rows(qkv, first + d_model, second + d_model, heads.scale(), heads);
        let v = rows(qkv, first + 2 * d_model, second + 2 * d_model, 1.0, heads);
        let (mut k_sums, mut v_sums) = (zeros(tiles), zeros(tiles));
        for columns in tile * ROWS / heads.every / COLUMNS..queries.div_ceil(COLUMNS) {
            let query = clamp_max(columns * COLUMNS + group(), queries - 1);
            let mut slopes = scores(&k, qkv, place.qkv + query * heads.every * 3 * d_model, heads);
            let mut weights = scores(&v, gradient, place.mixed + query * d_model, heads);
            let own = columns * COLUMNS + 2 * member();
            let (one, two) = (clamp_max(own, queries - 1), clamp_max(own + 1, queries - 1));
            #[unroll]
            for column in 0..2usize {
                let query = clamp_max(own + column, queries - 1);
                let (log_sum, mean) = (log_sums[place.log_sums + query], expected[query]);
                #[unroll]
                for row in 0..2usize {
                    let seen = own + column < queries && (own + column) * heads.every >= lane_row(tile, row);
                    let (mut slope, mut weight) = (slopes[row], weights[row]);
                    let likely = (slope[column] - log_sum).exp();
                    slope[column] = select(seen, likely * (weight[column] - mean), 0.0f32);
                    weight[column] = select(seen, likely, 0.0f32);
                    slopes[row] = slope;
                    weights[row] = weight;
                }
            }
            let (one_q, two_q) =
                (place.qkv + one * heads.every * 3 * d_model, place.qkv + two * heads.every * 3 * d_model);
            add_weighted(&mut k_sums, &slopes, qkv, one_q, two_q, heads);
            add_weighted(
                &mut v_sums,
                &weights,
                gradient,
                place.mixed + one * d_model,
                place.mixed + two * d_model,
                heads,
            );
        }
        #[unroll]
        for row in 0..2usize {
            let token = lane_row(tile, row);
            if token < heads.tokens {
                let own = place.qkv + token * 3 * d_model;
                store(qkv_gradient, own + d_model, &k_sums, heads.scale(), row, heads);
                store(qkv_gradient, own + 2 * d_model, &v_sums, 1.0, row, heads);
                if token % heads.every != 0 {
                    store(qkv_gradient, own, &k_sums, 0.0, row, heads);
                }
            }
        }
        tile += CUBE_DIM_Y as usize;
    }
}
