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

    fn d_model(&self) -> usize {
        self.n_heads * self.d_head
    }

    fn scale(&self) -> f32 {
        1.0 / (self.d_head as f32).sqrt()
    }

    /// Elements that are read at a time.
    pub(super) fn vector(&self) -> usize {
        [4, 2].into_iter().find(|size| self.d_head.is_multiple_of(*size)).unwrap_or(1)
    }
}

/// The sum of a vector's elements.
#[cube]
fn total_of<N: Size>(vector: Vector<f32, N>) -> f32 {
    let mut total = 0.0f32;
    #[unroll]
    for i in 0..N::value() {
        total += vector[i];
    }
    total
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
    let (d_head, d_model) = comptime!((heads.d_head / n, heads.d_model() / n));
    let (queries, scale) = comptime!((heads.queries(), heads.scale()));
    let (sequence, head) = (CUBE_POS_X as usize, CUBE_POS_Y as usize);
    let first = sequence * heads.tokens * 3 * d_model + head * d_head;
    let mut query = UNIT_POS_X as usize;
    while query < queries {
        let token = query * heads.every;
        let mut q = Array::<Vector<f32, N>>::new(d_head);
        let mut sum = Array::<Vector<f32, N>>::new(d_head);
        let own = first + token * 3 * d_model;
        #[unroll]
        for c in 0..d_head {
            q[c] = qkv[own + c] * Vector::new(scale);
            sum[c] = Vector::new(0.0f32);
        }
        let mut largest = f32::new(-1e30);
        let mut total = 0.0f32;
        for key in 0..token + 1 {
            let k = first + key * 3 * d_model + d_model;
            let v = k + d_model;
            let mut scores = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for c in 0..d_head {
                scores += q[c] * qkv[k + c];
            }
            let score = total_of(scores);
            if score > largest {
                let shrink = (largest - score).exp();
                total *= shrink;
                #[unroll]
                for c in 0..d_head {
                    sum[c] *= Vector::new(shrink);
                }
                largest = score;
            }
            let weight = (score - largest).exp();
            total += weight;
            #[unroll]
            for c in 0..d_head {
                sum[c] += Vector::new(weight) * qkv[v + c];
            }
        }
        let to = (sequence * queries + query) * d_model + head * d_head;
        #[unroll]
        for c in 0..d_head {
            mixed[to + c] = sum[c] / Vector::new(total);
        }
        log_sums[(sequence * heads.n_heads + head) * queries + query] = largest + total.ln();
        query += CUBE_DIM_X as usize;
    }
}

/// The gradient of [`attention`]'s input: first of every query, one a unit, then of every key and value.
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
    let n = N::value();
    let (d_head, d_model) = comptime!((heads.d_head / n, heads.d_model() / n));
    let (queries, scale) = comptime!((heads.queries(), heads.scale()));
    let (sequence, head) = (CUBE_POS_X as usize, CUBE_POS_Y as usize);
    let first = sequence * heads.tokens * 3 * d_model + head * d_head;
    let first_mixed = sequence * queries * d_model + head * d_head;
    let first_sum = (sequence * heads.n_heads + head) * queries;
    // Σ gradient · mixed of every query, which is Σ weight · (gradient of the weight).
    let mut shared = SharedMemory::<f32>::new(queries);

    let mut query = UNIT_POS_X as usize;
    while query < queries {
        let token = query * heads.every;
        let own = first + token * 3 * d_model;
        let from = first_mixed + query * d_model;
        let mut q = Array::<Vector<f32, N>>::new(d_head);
        let mut g = Array::<Vector<f32, N>>::new(d_head);
        let mut sum = Array::<Vector<f32, N>>::new(d_head);
        let mut products = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for c in 0..d_head {
            q[c] = qkv[own + c] * Vector::new(scale);
            g[c] = gradient[from + c];
            sum[c] = Vector::new(0.0f32);
            products += g[c] * mixed[from + c];
        }
        let expected = total_of(products);
        shared[query] = expected;
        let log_sum = log_sums[first_sum + query];
        for key in 0..token + 1 {
            let k = first + key * 3 * d_model + d_model;
            let v = k + d_model;
            let mut scores = Vector::<f32, N>::new(0.0f32);
            let mut weighs = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for c in 0..d_head {
                scores += q[c] * qkv[k + c];
                weighs += g[c] * qkv[v + c];
            }
            let slope = (total_of(scores) - log_sum).exp() * (total_of(weighs) - expected);
            #[unroll]
            for c in 0..d_head {
                sum[c] += Vector::new(slope) * qkv[k + c];
            }
        }
        #[unroll]
        for c in 0..d_head {
            qkv_gradient[own + c] = sum[c] * Vector::new(scale);
        }
        query += CUBE_DIM_X as usize;
    }
    sync_cube();

    let mut token = UNIT_POS_X as usize;
    while token < heads.tokens {
        let own = first + token * 3 * d_model;
        let mut k = Array::<Vector<f32, N>>::new(d_head);
        let mut v = Array::<Vector<f32, N>>::new(d_head);
        let mut k_sum = Array::<Vector<f32, N>>::new(d_head);
        let mut v_sum = Array::<Vector<f32, N>>::new(d_head);
        #[unroll]
        for c in 0..d_head {
            k[c] = qkv[own + d_model + c] * Vector::new(scale);
            v[c] = qkv[own + 2 * d_model + c];
            k_sum[c] = Vector::new(0.0f32);
            v_sum[c] = Vector::new(0.0f32);
        }
        for query in token.div_ceil(heads.every)..queries {
            let q = first + query * heads.every * 3 * d_model;
            let from = first_mixed + query * d_model;
            let mut scores = Vector::<f32, N>::new(0.0f32);
            let mut weighs = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for c in 0..d_head {
                scores += k[c] * qkv[q + c];
                weighs += v[c] * gradient[from + c];
            }
            let weight = (total_of(scores) - log_sums[first_sum + query]).exp();
            let slope = weight * (total_of(weighs) - shared[query]);
            #[unroll]
            for c in 0..d_head {
                k_sum[c] += Vector::new(slope) * qkv[q + c];
                v_sum[c] += Vector::new(weight) * gradient[from + c];
            }
        }
        #[unroll]
        for c in 0..d_head {
            qkv_gradient[own + d_model + c] = k_sum[c] * Vector::new(scale);
            qkv_gradient[own + 2 * d_model + c] = v_sum[c];
        }
        if token % heads.every != 0 {
            #[unroll]
            for c in 0..d_head {
                qkv_gradient[own + c] = Vector::new(0.0f32);
            }
        }
        token += CUBE_DIM_X as usize;
    }
}
