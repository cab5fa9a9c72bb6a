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

use burn::tensor::Tensor;
use kernels::{Attend, Gate, Kernels, Normalize, NormalizeInputs, Rope, Span};

use super::weights::{BlockWeights, NormWeights};
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

/// Adds to what a map gives.
pub(crate) trait Tune<B: Kernels>: Sync {
    /// The outputs `y` of the map at `place` in block number `layer` for its inputs `x`, tuned.
    fn tune(&self, layer: usize, place: MapPlace, x: &Tensor<B, 2>, y: Tensor<B, 2>) -> Tensor<B, 2>;
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
    fn tune(&self, _: usize, _: MapPlace, _: &Tensor<B, 2>, y: Tensor<B, 2>) -> Tensor<B, 2> {
        y
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
    /// `[rows, d_model]`
    pub(crate) fn forward(&self, h: Tensor<B, 2>, spans: &Arc<[Span]>, keep: bool) -> Behind<B> {
        let attention = self.attention(h.clone(), spans);
        let kept = keep.then(|| attention.clone());
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

    fn attention(&self, h: Tensor<B, 2>, spans: &Arc<[Span]>) -> Tensor<B, 2> {
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
        let mixed = self.map(MapPlace::AttentionOut, attend.apply(heads));
        self.norm(weights.attention_post_norm.as_ref(), mixed)
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
        let y = map.forward(x.clone());
        self.tuning.tune(self.layer, place, &x, y)
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
