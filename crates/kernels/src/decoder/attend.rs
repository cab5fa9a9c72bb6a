//! Causal attention of sequences of different lengths, with positions by rotation.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor, TensorData, activation};
#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

use super::{Described, apply};
#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuRuntime};
use crate::{Kernels, Operation, cpu};

/// Causal attention over rows of queries, keys and values side by side: sequences lie one behind the other, without
/// padding, and none sees another.
#[derive(Clone, Debug)]
pub struct Attend {
    /// The sequences, in the order of their rows.
    pub spans: Arc<[Span]>,
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and of values; each serves the same number of query heads, that lie side by side.
    pub kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// What scores are multiplied with.
    pub scale: f32,
    /// The scores s become cap · tanh(s / cap).
    pub cap: Option<f32>,
    /// A query sees so many keys at most, its own among them.
    pub window: Option<usize>,
    /// The rotation of queries and keys.
    pub rope: Arc<Rope>,
}

/// A sequence among the rows: of its own from the first token on, or one that leaves another behind some tokens and sees
/// those of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first row.
    pub start: usize,
    /// Its rows.
    pub len: usize,
    /// The first row of the sequence it leaves, and how many of that one's rows it sees; its own rows count on from there.
    pub from: Option<(usize, usize)>,
}

/// Rotary positions, the first half of a head's features with the second.
#[derive(Clone, Debug)]
pub struct Rope {
    /// Features of a head that are rotated, the first ones; even.
    pub dims: usize,
    /// Cosines and sines of the angles, `[positions, dims / 2]`.
    pub cos: Vec<f32>,
    /// As there.
    pub sin: Vec<f32>,
}

impl Span {
    /// A sequence of its own.
    pub fn whole(start: usize, len: usize) -> Self {
        Self { start, len, from: None }
    }

    /// Its rows.
    pub fn rows(self) -> Range<usize> {
        self.start..self.start + self.len
    }

    /// Tokens ahead of its own rows.
    pub fn before(self) -> usize {
        self.from.map_or(0, |(_, seen)| seen)
    }
}

impl Rope {
    /// Of angles position · frequency, in f32 as the models were trained.
    pub fn new(positions: usize, frequencies: &[f32]) -> Self {
        let angles =
            || (0..positions).flat_map(|at| frequencies.iter().map(move |frequency| f64::from(at as f32 * frequency)));
        let [cos, sin] = [f64::cos, f64::sin].map(|of| angles().map(|angle| of(angle) as f32).collect());
        Self { dims: 2 * frequencies.len(), cos, sin }
    }

    /// Cosines and sines at a position.
    pub(crate) fn at(&self, position: usize) -> [&[f32]; 2] {
        let half = self.dims / 2;
        [&self.cos, &self.sin].map(|all| &all[position * half..(position + 1) * half])
    }
}

impl Attend {
    /// What the heads put together.
    ///
    /// # Shapes
    /// `[rows, (heads + 2 kv_heads) d_head]` to `[rows, heads · d_head]`
    pub fn apply<B: Kernels>(self, query_key_value: Tensor<B, 2>) -> Tensor<B, 2> {
        apply(self, [query_key_value])
    }

    /// Rows in all.
    pub(crate) fn rows(&self) -> usize {
        self.spans.last().map_or(0, |span| span.rows().end)
    }

    /// The keys that the query at `position` sees.
    pub(crate) fn seen(&self, position: usize) -> Range<usize> {
        let first = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        first..position + 1
    }

    /// What is not rotated stays.
    fn rotate<B: Backend>(&self, x: Tensor<B, 3>, first: usize) -> Tensor<B, 3> {
        let ([rows, _, d_head], dims, half) = (x.dims(), self.rope.dims, self.rope.dims / 2);
        let table = |all: &[f32]| {
            let values = all[first * half..(first + rows) * half].to_vec();
            Tensor::<B, 3>::from_data(TensorData::new(values, [rows, 1, half]), &x.device())
        };
        let (cos, sin) = (table(&self.rope.cos), table(&self.rope.sin));
        let [a, b] = [0, half].map(|from| x.clone().narrow(2, from, half));
        let mut parts = vec![a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin];
        if dims < d_head {
            parts.push(x.narrow(2, dims, d_head - dims));
        }
        Tensor::cat(parts, 2)
    }
}

impl Described<1> for Attend {
    fn ordinary<B: Backend>(&self, [query_key_value]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        let (d, group, device) = (self.d_head, self.heads / self.kv_heads, query_key_value.device());
        let heads = |rows: Range<usize>, first: usize, count: usize| {
            let len = rows.len();
            let features = first * d..(first + count) * d;
            query_key_value.clone().slice([rows, features]).reshape([len, count, d])
        };
        let of_span = |span: &Span| {
            let before = span.before();
            let queries = self.rotate(heads(span.rows(), 0, self.heads), before);
            let part = |rows: Range<usize>, at: usize| {
                let keys = self.rotate(heads(rows.clone(), self.heads, self.kv_heads), at);
                [keys, heads(rows, self.heads + self.kv_heads, self.kv_heads)]
            };
            let mut parts: Vec<[Tensor<B, 3>; 2]> = Vec::new();
            if let Some((start, seen)) = span.from {
                parts.push(part(start..start + seen, 0));
            }
            parts.push(part(span.rows(), before));
            let joined = [0, 1].map(|which| {
                let all = Tensor::cat(parts.iter().map(|part| part[which].clone()).collect(), 0);
                // [keys, kv_heads, d] to [heads, keys, d]
                let keys = before + span.len;
                let all = all.swap_dims(0, 1).reshape([self.kv_heads, 1, keys, d]);
                all.repeat_dim(1, group).reshape([self.heads, keys, d])
            });
            let [keys, values] = joined;
            let scores = queries.swap_dims(0, 1).matmul(keys.transpose()) * self.scale;
            let scores = match self.cap {
                Some(cap) => (scores / cap).tanh() * cap,
                None => scores,
            };
            let hidden = (0..span.len).flat_map(|row| {
                let seen = self.seen(before + row);
                (0..before + span.len).map(move |key| !seen.contains(&key))
            });
            let hidden = TensorData::new(hidden.collect::<Vec<bool>>(), [1, span.len, before + span.len]);
            let hidden = Tensor::<B, 3, Bool>::from_data(hidden, &device);
            let scores = scores.mask_fill(hidden.expand([self.heads, span.len, before + span.len]), f32::NEG_INFINITY);
            let mixed = activation::softmax(scores, 2).matmul(values);
            mixed.swap_dims(0, 1).reshape([span.len, self.heads * d])
        };
        Tensor::cat(self.spans.iter().map(of_span).collect(), 0)
    }
}

impl Operation<1> for Attend {
    type Inputs<T> = [T; 1];
    type Saved = ();
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = ();

    fn shape(&self) -> Vec<usize> {
        vec![self.rows(), self.heads * self.d_head]
    }

    fn forward(&self, arch: Arch, [x]: [&[f32]; 1], _: bool) -> (Vec<f32>, ()) {
        (cpu::attend(self, arch, x), ())
    }

    fn backward(&self, arch: Arch, [x]: [&[f32]; 1], (): &(), gradient: &[f32]) -> [Option<Vec<f32>>; 1] {
        [Some(cpu::attend_gradient(self, arch, x, gradient))]
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(&self, inputs: [CubeTensor<R>; 1]) -> (CubeTensor<R>, ()) {
        (gpu::ordinary(self, inputs), ())
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: [CubeTensor<R>; 1],
        (): &(),
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; 1] {
        [Some(gpu::ordinary_gradient(self, inputs, gradient))]
    }
}
