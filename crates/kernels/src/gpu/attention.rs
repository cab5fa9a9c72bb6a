//! Causal attention, forward and backward, of one head of one sequence in each cube.

use cubecl::prelude::*;

/// Sizes that a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heads {
    /// Tokens of a sequence.
    pub(super) tokens: usize,
    /// Heads.
    pub(super) n_heads: usize,
    /// Width of a head.
    pub(super) d_head: usize,
    /// Tokens from one query to the next; the first token is one.
    pub(super) every: usize,
}

impl Heads {
    /// Queries of a sequence.
    pub(super) fn queries(&self) -> usize {
        self.tokens.div_ceil(self.every)
    }

    pub(super) fn d_model(&self) -> usize {
        self.n_heads * self.d_head
    }

    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.d_head as f32).sqrt()
    }

    /// Elements that are read at a time.
    pub(super) fn vector(&self) -> usize {
        [4, 2].into_iter().find(|size| self.d_head.is_multiple_of(*size)).unwrap_or(1)
    }
}

/// Where the numbers of a head of a sequence begin, which a cube works on, in vectors.
#[derive(CubeType)]
pub(super) struct Place {
    /// Its first query, in the array of queries, keys and values.
    pub(super) qkv: usize,
    /// Its first output.
    pub(super) mixed: usize,
    /// The first of its logarithms, in numbers.
    pub(super) log_sums: usize,
}

#[cube]
pub(super) fn place(#[comptime] heads: Heads, #[comptime] n: usize) -> Place {
    let (sequence, head) = (CUBE_POS_X as usize, CUBE_POS_Y as usize);
    let (d_head, d_model, queries) = comptime!((heads.d_head / n, heads.d_model() / n, heads.queries()));
    Place {
        qkv: sequence * heads.tokens * 3 * d_model + head * d_head,
        mixed: sequence * queries * d_model + head * d_head,
        log_sums: (sequence * heads.n_heads + head) * queries,
    }
}

/// scale · from, in registers.
#[cube]
fn load<N: Size>(from: &Array<Vector<f32, N>>, at: usize, scale: f32, #[comptime] len: usize) -> Array<Vector<f32, N>> {
    let mut loaded = Array::<Vector<f32, N>>::new(len);
    #[unroll]
    for i in 0..len {
        loaded[i] = from[at + i] * Vector::new(scale);
    }
    loaded
}

/// to = scale · from, which is in registers.
#[cube]
fn store<N: Size>(
    to: &mut Array<Vector<f32, N>>,
    at: usize,
    from: &Array<Vector<f32, N>>,
    scale: f32,
    #[comptime] len: usize,
) {
    #[unroll]
    for i in 0..len {
        to[at + i] = from[i] * Vector::new(scale);
    }
}

/// Zeros, in registers.
#[cube]
fn zeros<N: Size>(#[comptime] len: usize) -> Array<Vector<f32, N>> {
    let mut zeros = Array::<Vector<f32, N>>::new(len);
    #[unroll]
    for i in 0..len {
        zeros[i] = Vector::new(0.0f32);
    }
    zeros
}

/// a · b, the first of which is in registers.
#[cube]
fn dot<N: Size>(a: &Array<Vector<f32, N>>, b: &Array<Vector<f32, N>>, at: usize, #[comptime] len: usize) -> f32 {
    let mut products = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for i in 0..len {
        products += a[i] * b[at + i];
    }
    let mut total = 0.0f32;
    #[unroll]
    for i in 0..N::value() {
        total += products[i];
    }
    total
}

/// sum += scale · from, into registers.
#[cube]
fn add_scaled<N: Size>(
    sum: &mut Array<Vector<f32, N>>,
    scale: f32,
    from: &Array<Vector<f32, N>>,
    at: usize,
    #[comptime] len: usize,
) {
    #[unroll]
    for i in 0..len {
        sum[i] += Vector::new(scale) * from[at + i];
    }
}

/// softmax(q kᵀ / √d_head, causal) v, one query a unit, in one pass over its keys: what was summed is scaled down
/// whenever a larger score turns up. Keeps log Σ exp(scores), from which the backward pass has the weights again.
///
/// # Shapes
/// `[sequences, tokens, 3, n_heads, d_head]` to `[sequences, queries, n_heads, d_head]` and
/// `[sequences, n_heads, queries]`
///
/// # Source
/// Milakov and Gimelshein (2018), arXiv 1805.02867.
#[cube(launch_unchecked)]
pub(super) fn attention<N: Size>(
    qkv: &Array<Vector<f32, N>>,
    mixed: &mut Array<Vector<f32, N>>,
    log_sums: &mut Array<f32>,
    #[comptime] heads: Heads,
) {
    let n = N::value();
    let (d_head, d_model, scale) = comptime!((heads.d_head / n, heads.d_model() / n, heads.scale()));
    let place = place(heads, n);
    let mut query = UNIT_POS_X as usize;
    while query < heads.queries() {
        let token = query * heads.every;
        let q = load(qkv, place.qkv + token * 3 * d_model, scale, d_head);
        let mut sum = zeros::<N>(d_head);
        let mut largest = f32::new(-1e30);
        let mut total = 0.0f32;
        for key in 0..token + 1 {
            let k = place.qkv + key * 3 * d_model + d_model;
            let score = dot(&q, qkv, k, d_head);
            if score > largest {
                let shrink = (largest - score).exp();
                total *= shrink;
                #[unroll]
                for i in 0..d_head {
                    sum[i] *= Vector::new(shrink);
                }
                largest = score;
            }
            let weight = (score - largest).exp();
            total += weight;
            add_scaled(&mut sum, weight, qkv, k + d_model, d_head);
        }
        store(mixed, place.mixed + query * d_model, &sum, 1.0 / total, d_head);
        log_sums[place.log_sums + query] = largest + total.ln();
        query += CUBE_DIM_X as usize;
    }
}

/// The gradient of [`attention`]'s input: first of every query, then of every key and value.
/// No sum is shared between units, so its order is fixed.
///
/// # Shapes
/// Those of [`attention`]; `gradient` is that of `mixed`, `qkv_gradient` that of `qkv`.
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

/// The gradients of the queries, one a unit.
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
    let (d_head, d_model, scale) = comptime!((heads.d_head / n, heads.d_model() / n, heads.scale()));
    let place = place(heads, n);
    let mut query = UNIT_POS_X as usize;
    while query < heads.queries() {
        let token = query * heads.every;
        let (own, from) = (place.qkv + token * 3 * d_model, place.mixed + query * d_model);
        let q = load(qkv, own, scale, d_head);
        let g = load(gradient, from, 1.0, d_head);
        let mean = dot(&g, mixed, from, d_head);
        expected[query] = mean;
        let log_sum = log_sums[place.log_sums + query];
        let mut sum = zeros::<N>(d_head);
        for key in 0..token + 1 {
            let k = place.qkv + key * 3 * d_model + d_model;
            let weight = (dot(&q, qkv, k, d_head) - log_sum).exp();
            let slope = weight * (dot(&g, qkv, k + d_model, d_head) - mean);
            add_scaled(&mut sum, slope, qkv, k, d_head);
        }
        store(qkv_gradient, own, &sum, scale, d_head);
        query += CUBE_DIM_X as usize;
    }
}

/// The gradients of the keys and values, those of a token a unit; the queries of tokens that ask nothing have none.
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
    let (d_head, d_model, scale) = comptime!((heads.d_head / n, heads.d_model() / n, heads.scale()));
    let place = place(heads, n);
    let mut token = UNIT_POS_X as usize;
    while token < heads.tokens {
        let own = place.qkv + token * 3 * d_model;
        let k = load(qkv, own + d_model, scale, d_head);
        let v = load(qkv, own + 2 * d_model, 1.0, d_head);
        let mut k_sum = zeros::<N>(d_head);
        let mut v_sum = zeros::<N>(d_head);
        for query in token.div_ceil(heads.every)..heads.queries() {
            let q = place.qkv + query * heads.every * 3 * d_model;
            let from = place.mixed + query * d_model;
            let weight = (dot(&k, qkv, q, d_head) - log_sums[place.log_sums + query]).exp();
            let slope = weight * (dot(&v, gradient, from, d_head) - expected[query]);
            add_scaled(&mut k_sum, slope, qkv, q, d_head);
            add_scaled(&mut v_sum, weight, gradient, from, d_head);
        }
        store(qkv_gradient, own + d_model, &k_sum, scale, d_head);
        store(qkv_gradient, own + 2 * d_model, &v_sum, 1.0, d_head);
        if token % heads.every != 0 {
            store(qkv_gradient, own, &zeros::<N>(d_head), 1.0, d_head);
        }
        token += CUBE_DIM_X as usize;
    }
}
