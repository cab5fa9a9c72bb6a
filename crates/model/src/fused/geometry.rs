//! The sizes of a block's work.

use super::attention::Attention;

/// What a block is applied to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) sequences: usize,
    /// Tokens of a sequence.
    pub(crate) tokens: usize,
    pub(crate) d_model: usize,
    pub(crate) n_heads: usize,
    /// The block's output is wanted at the tokens 0, every, 2·every, …
    pub(crate) every: usize,
}

impl Geometry {
    /// Tokens of a sequence that come out.
    pub(crate) fn outputs(&self) -> usize {
        self.tokens.div_ceil(self.every)
    }

    pub(super) fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }

    pub(super) fn attention_scale(&self) -> f32 {
        1.0 / (self.d_head() as f32).sqrt()
    }

    pub(super) fn attention(&self, sequences: usize) -> Attention {
        Attention { sequences, d_head: self.d_head(), keys: self.tokens, every: self.every }
    }
}
