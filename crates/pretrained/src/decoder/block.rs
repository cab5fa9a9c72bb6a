//! One block of a decoder, of every family.
//!
//! ```text
//! one after the other                        in parallel
//!
//! h ─┬─ norm ─ attention ─ post-norm ─ + ─┐   h ─┬─ norm ─ attention ────── + ─
//!    └─────────────────────────────────┘ │      ├─ norm ─ feed-forward ─── +
//!   ┌────────────────────────────────────┘      └───────────────────────── +
//!   ├─ norm ─ feed-forward ─ post-norm ─ + ─
//!   └─────────────────────────────────── +
//! ```
//! Which of the norms there are is the family's: before a part, behind it, or both.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use kernels::{Attend, Gate, Kernels, Normalize, NormalizeInputs, Rope, Span};

use super::weights::{BlockWeights, Linear, NormWeights};
use crate::folder::{DecoderConfig, QueryKeyNorm};

/// A block, ready to be applied.
pub(crate) struct Block<'a, B: Kernels> {
    pub(crate) config: &'a DecoderConfig,
    pub(crate) weights: &'a BlockWeights<B>,
    pub(crate) rope: &'a Arc<Rope>,
    /// Its number, from 0.
    pub(crate) layer: usize,
    /// What tunes its maps.
    pub(crate) tuning: &'a dyn Tune<B>,
}

/// How a block's maps are applied.
pub(crate) trait Tune<B: Kernels>: Sync {
    /// What `map`, which is the one at `place` in block number `layer`, gives for `x` when it is tuned.
    fn apply(&self, layer: usize, place: MapPlace, map: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2>;
}

/// Which of a block's maps; those that share their inputs lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapPlace {
    QueryKeyValue,
    AttentionOut,
    FeedForwardIn,
    FeedForwardOut,
}

/// As it was trained.
pub(crate) struct Untuned;

impl<B: Kernels> Tune<B> for Untuned {
    fn apply(&self, _: usize, _: MapPlace, map: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        map.forward(x)
    }
}

/// What is kept of a block's work.
#[derive(Clone, Debug)]
pub(crate) struct Keep<B: Kernels> {
    /// Whether what attention and feed-forward part added is wanted.
    pub(crate) parts: bool,
    /// The rows that are wanted, if not all. The others are only attended to.
    pub(crate) rows: Option<Tensor<B, 1, Int>>,
}

impl<B: Kernels> Keep<B> {
    /// The residual stream of all rows.
    pub(crate) fn stream() -> Self {
        Self { parts: false, rows: None }
    }

    fn of(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.rows {
            Some(rows) => x.select(0, rows.clone()),
            None => x,
        }
    }
}

/// The residual stream behind a block, and what attention and feed-forward part added where that was asked for; all
/// `[rows, d_model]`.
pub(crate) struct Behind<B: Kernels> {
    pub(crate) h: Tensor<B, 2>,
    pub(crate) added: Option<[Tensor<B, 2>; 2]>,
}

impl<B: Kernels> Block<'_, B> {
    /// Applies it to sequences whose rows lie behind each other.
    ///
    /// # Shapes
    /// `[rows, d_model]` to the rows that are kept of it
    pub(crate) fn forward(&self, h: Tensor<B, 2>, spans: &Arc<[Span]>, keep: &Keep<B>) -> Behind<B> {
        let mixed = self.attend(h.clone(), spans);
        let (attention, h) = (self.attention_out(keep.of(mixed)), keep.of(h));
        let kept = keep.parts.then(|| attention.clone());
        // What nobody else holds is added to in place.
        let (h, feed_forward) = if self.config.parallel {
            let feed_forward = self.feed_forward(h.clone());
            (h + attention, feed_forward)
        } else {
            let h = h + attention;
            (h.clone(), self.feed_forward(h))
        };
        let added = kept.map(|attention| [attention, feed_forward.clone()]);
        Behind { h: feed_forward + h, added }
    }

    /// What the heads put together, `[rows, n_heads * d_head]`.
    fn attend(&self, h: Tensor<B, 2>, spans: &Arc<[Span]>) -> Tensor<B, 2> {
        let (config, weights) = (self.config, self.weights);
        let x = self.norm(weights.attention_norm.as_ref(), h);
        let mut heads = self.map(MapPlace::QueryKeyValue, x);
        if let Some(most) = config.clip_query_key_value {
            heads = heads.clamp(-most, most);
        }
        if let (Some(of_queries), Some(of_keys)) = (&weights.query_norm, &weights.key_norm) {
            heads = self.normalize_heads(of_queries, of_keys, heads);
        }
        let attend = Attend {
            spans: spans.clone(),
            heads: config.n_heads,
            kv_heads: config.n_kv_heads,
            d_head: config.d_head,
            scale: config.attention_scale,
            cap: config.attention_cap,
            window: config.windows[self.layer],
            rope: self.rope.clone(),
        };
        attend.apply(heads)
    }

    fn attention_out(&self, mixed: Tensor<B, 2>) -> Tensor<B, 2> {
        self.norm(self.weights.attention_post_norm.as_ref(), self.map(MapPlace::AttentionOut, mixed))
    }

    fn feed_forward(&self, h: Tensor<B, 2>) -> Tensor<B, 2> {
        let x = self.norm(self.weights.feed_forward_norm.as_ref(), h);
        let [rows, _] = x.dims();
        let inner = self.map(MapPlace::FeedForwardIn, x);
        let DecoderConfig { activation, gated, d_feed_forward, .. } = *self.config;
        let inner = Gate { activation, gated, shape: [rows, d_feed_forward] }.apply(inner);
        self.norm(self.weights.feed_forward_post_norm.as_ref(), self.map(MapPlace::FeedForwardOut, inner))
    }

    fn map(&self, place: MapPlace, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let map = match place {
            MapPlace::QueryKeyValue => &self.weights.query_key_value,
            MapPlace::AttentionOut => &self.weights.attention_out,
            MapPlace::FeedForwardIn => &self.weights.feed_forward_in,
            MapPlace::FeedForwardOut => &self.weights.feed_forward_out,
        };
        self.tuning.apply(self.layer, place, map, x)
    }

    fn norm(&self, weights: Option<&NormWeights<B>>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match weights {
            Some(weights) => normalize(self.config, weights, x),
            None => x,
        }
    }

    /// Queries and keys normalised, values as they are.
    fn normalize_heads(
        &self,
        of_queries: &NormWeights<B>,
        of_keys: &NormWeights<B>,
        heads: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let config = self.config;
        let [rows, width] = heads.dims();
        let (queries, keys) = (config.n_heads * config.d_head, config.n_kv_heads * config.d_head);
        let part = |weights, first: usize, len: usize| {
            let part = heads.clone().narrow(1, first, len);
            match config.query_key_norm {
                Some(QueryKeyNorm::Head) => {
                    let by_head = part.reshape([rows * len / config.d_head, config.d_head]);
                    normalize(config, weights, by_head).reshape([rows, len])
                }
                _ => normalize(config, weights, part),
            }
        };
        let values = heads.clone().narrow(1, queries + keys, width - queries - keys);
        Tensor::cat(vec![part(of_queries, 0, queries), part(of_keys, queries, keys), values], 1)
    }
}

/// A norm of the model over every row.
pub(crate) fn normalize<B: Kernels>(config: &DecoderConfig, weights: &NormWeights<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    let norm = Normalize { centred: config.norm.centred, epsilon: config.norm.epsilon, shape: x.dims() };
    norm.apply(NormalizeInputs { scale: weights.scale.clone(), shift: weights.shift.clone(), x })
}
