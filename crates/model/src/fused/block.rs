//! A whole transformer block, forward and backward, over a few sequences at a time.
//!
//! What makes it fast: sequences go through in chunks whose intermediate values stay in cache; products write into the
//! residual stream directly; queries, keys and values are laid out features by tokens, as [`Attention`] wants them;
//! [`Folded`] maps make scale and shift of the norms free.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::attention::Attention;
use super::chunk::Chunk;
use super::fold::{Folded, Parameters, unfold};
use super::kernels::add;

/// Tokens of a chunk: few enough to stay in a core's own cache, enough for products at their full rate.
const CHUNK: usize = 512;

/// What a block is applied to.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub(crate) sequences: usize,
    /// Tokens of a sequence.
    pub(crate) tokens: usize,
    pub(crate) d_model: usize,
    pub(crate) n_heads: usize,
    /// The block's output is wanted at the tokens 0, every, 2·every, …
    pub(crate) every: usize,
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub struct Kept {
    folded: Folded,
    chunks: Vec<Chunk>,
}

/// What a pass over a chunk knows of the block.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a, S> {
    pub(super) simd: S,
    pub(super) geometry: Geometry,
    pub(super) parameters: &'a Parameters<&'a [f32]>,
    pub(super) folded: &'a Folded,
}

impl Geometry {
    /// Tokens of a sequence that come out.
    pub(super) fn outputs(&self) -> usize {
        self.tokens.div_ceil(self.every)
    }

    pub(super) fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }

    fn attention_scale(&self) -> f32 {
        1.0 / (self.d_head() as f32).sqrt()
    }

    fn attention(&self) -> Attention {
        Attention::new(self.d_head(), self.tokens, self.every)
    }

    /// Ranges of sequences.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let (sequences, size) = (self.sequences, (CHUNK / self.tokens).max(1));
        (0..sequences).step_by(size).map(move |first| first..sequences.min(first + size))
    }

    /// The tokens of some sequences that come out, as (row among the outputs, row among all tokens).
    pub(super) fn output_rows(self, sequences: usize) -> impl Iterator<Item = (usize, usize)> {
        let outputs = self.outputs();
        (0..sequences * outputs).map(move |row| (row, row / outputs * self.tokens + row % outputs * self.every))
    }

    /// Adds the rows of the outputs to their rows among all tokens.
    #[inline(always)]
    pub(super) fn scatter<S: Simd>(self, simd: S, outputs: &[f32], all: &mut [f32]) {
        let d = self.d_model;
        for (output, row) in self.output_rows(all.len() / d / self.tokens) {
            add(simd, &mut all[row * d..][..d], &outputs[output * d..][..d]);
        }
    }
}

/// The part of `rows` that belongs to some of its sequences, of `elements` each.
fn of_sequences<'a>(rows: &'a [f32], sequences: &Range<usize>, elements: usize) -> &'a [f32] {
    &rows[sequences.start * elements..sequences.end * elements]
}

/// `h + attention(norm(h))`, then `h + feed_forward(norm(h))`, at the tokens that are wanted; the chunks stay in
/// [`Kept`] only if asked.
///
/// # Shapes
/// `h` `[sequences, tokens, d_model]` to `[sequences, outputs, d_model]`
pub(super) fn forward(
    arch: Arch,
    geometry: Geometry,
    parameters: &Parameters<&[f32]>,
    h: &[f32],
    keep: bool,
) -> (Vec<f32>, Kept) {
    struct Forward<'a>(Geometry, &'a Parameters<&'a [f32]>, &'a [f32], bool);
    impl WithSimd for Forward<'_> {
        type Output = (Vec<f32>, Kept);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(geometry, parameters, h, keep) = self;
            let d = geometry.d_model;
            let folded = Folded::new(simd, parameters, geometry.attention_scale());
            let pass = Pass { simd, geometry, parameters, folded: &folded };
            let attention = geometry.attention();
            let mut out = Vec::with_capacity(geometry.sequences * geometry.outputs() * d);
            let mut chunks = Vec::new();
            for sequences in geometry.chunks() {
                let h = of_sequences(h, &sequences, geometry.tokens * d);
                let first = out.len();
                for (_, row) in geometry.output_rows(sequences.len()) {
                    out.extend_from_slice(&h[row * d..][..d]);
                }
                let mut chunk = Chunk::new(geometry, sequences.len(), &attention);
                chunk.attend(pass, &attention, h, &mut out[first..]);
                chunk.feed_forward(pass, &mut out[first..]);
                if keep {
                    chunks.push(chunk);
                }
            }
            (out, Kept { folded, chunks })
        }
    }
    arch.dispatch(Forward(geometry, parameters, h, keep))
}

/// The gradients of `h` and of every parameter from the gradient of the block's output.
///
/// # Shapes
/// `gradient` as the block's output; to `[sequences, tokens, d_model]`
pub(super) fn backward(
    arch: Arch,
    geometry: Geometry,
    parameters: &Parameters<&[f32]>,
    kept: &Kept,
    gradient: &[f32],
) -> (Vec<f32>, Parameters<Vec<f32>>) {
    struct Backward<'a>(Geometry, &'a Parameters<&'a [f32]>, &'a Kept, &'a [f32]);
    impl WithSimd for Backward<'_> {
        type Output = (Vec<f32>, Parameters<Vec<f32>>);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(geometry, parameters, kept, gradient) = self;
            let d = geometry.d_model;
            let pass = Pass { simd, geometry, parameters, folded: &kept.folded };
            let attention = geometry.attention();
            let mut of_parameters = Parameters::zeros(d);
            let mut of_h = Vec::with_capacity(geometry.sequences * geometry.tokens * d);
            for (sequences, chunk) in geometry.chunks().zip(&kept.chunks) {
                let gradient = of_sequences(gradient, &sequences, geometry.outputs() * d);
                let middle = chunk.feed_forward_gradient(pass, gradient, &mut of_parameters);
                let first = of_h.len();
                if geometry.every == 1 {
                    of_h.extend_from_slice(&middle);
                } else {
                    of_h.resize(first + sequences.len() * geometry.tokens * d, 0.0);
                    geometry.scatter(simd, &middle, &mut of_h[first..]);
                }
                chunk.attend_gradient(pass, &attention, &middle, &mut of_h[first..], &mut of_parameters);
            }
            unfold(simd, parameters, geometry.attention_scale(), &mut of_parameters);
            (of_h, of_parameters)
        }
    }
    arch.dispatch(Backward(geometry, parameters, kept, gradient))
}
