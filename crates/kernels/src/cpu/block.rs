//! A whole transformer block, forward and backward, over a few sequences at a time.
//!
//! What makes it fast: sequences go through in chunks whose intermediate values stay in cache; products write into the
//! residual stream directly; queries, keys and values are laid out with sequences side by side, as
//! [attention](super::attention) wants them; [`Folded`] maps make scale and shift of the norms free.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::attention::LANES;
use super::buffer::Buffer;
use super::chunk::{Chunk, Pass};
use super::fold::{Folded, unfold, zeros};
use super::rows::copy;
use crate::{BlockInputs, BlockWeights, Geometry};

/// Tokens of a chunk: few enough to stay in a core's own cache, enough for products at their full rate.
const CHUNK: usize = 512;

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub struct SavedBlock {
    folded: Folded,
    chunks: Vec<Chunk>,
}

/// Ranges of sequences, whole vectors of them where possible.
fn chunks(geometry: &Geometry) -> impl Iterator<Item = Range<usize>> {
    let (sequences, size) = (geometry.sequences, (CHUNK / geometry.tokens).max(1).next_multiple_of(LANES));
    (0..sequences).step_by(size).map(move |first| first..sequences.min(first + size))
}

/// The rows of some sequences, `[sequences, tokens, d]`, with the same token of all sequences side by side,
/// `[tokens, sequences, d]`.
#[inline(always)]
fn by_token<S: Simd>(simd: S, rows: &[f32], sequences: &Range<usize>, [tokens, d]: [usize; 2]) -> Buffer {
    let rows = &rows[sequences.start * tokens * d..sequences.end * tokens * d];
    let mut swapped = Buffer::new(rows.len());
    for (i, row) in rows.chunks_exact(d).enumerate() {
        let (sequence, token) = (i / tokens, i % tokens);
        copy(simd, &mut swapped[(token * sequences.len() + sequence) * d..][..d], row);
    }
    swapped
}

/// The inverse of [`by_token`], behind the sequences before these.
fn push_by_sequence(to: &mut Vec<f32>, rows: &[f32], sequences: usize, d: usize) {
    for sequence in 0..sequences {
        rows.chunks_exact(d).skip(sequence).step_by(sequences).for_each(|row| to.extend_from_slice(row));
    }
}

/// The output of a block, and what its gradient needs.
pub(crate) fn block(
    geometry: Geometry,
    arch: Arch,
    BlockInputs { weights, h }: BlockInputs<&[f32]>,
    save: bool,
) -> (Vec<f32>, SavedBlock) {
    arch.dispatch(Forward { geometry, weights: &weights, h, save })
}

/// The gradients of a block's inputs from that of its output.
pub(crate) fn block_gradient(
    geometry: Geometry,
    arch: Arch,
    weights: BlockWeights<&[f32]>,
    saved: &SavedBlock,
    gradient: &[f32],
) -> BlockInputs<Vec<f32>> {
    arch.dispatch(Backward { geometry, weights: &weights, saved, gradient })
}

/// `h + attention(norm(h))`, then `h + feed_forward(norm(h))`, at the tokens that are wanted; the chunks stay in
/// [`SavedBlock`] only if asked.
struct Forward<'a> {
    geometry: Geometry,
    weights: &'a BlockWeights<&'a [f32]>,
    h: &'a [f32],
    save: bool,
}

impl WithSimd for Forward<'_> {
    type Output = (Vec<f32>, SavedBlock);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { geometry, weights, h, save } = self;
        let d = geometry.d_model;
        let folded = Folded::new(simd, weights, geometry.attention_scale());
        let pass = Pass { simd, geometry, parameters: weights, folded: &folded };
        let mut out = Vec::with_capacity(geometry.sequences * geometry.outputs() * d);
        let mut saved = Vec::new();
        for sequences in chunks(&geometry) {
            let h = by_token(simd, h, &sequences, [geometry.tokens, d]);
            let mut chunk = Chunk::new(geometry, sequences.len());
            let mut h = chunk.attend(pass, h);
            chunk.feed_forward(pass, &mut h);
            push_by_sequence(&mut out, &h, sequences.len(), d);
            if save {
                saved.push(chunk);
            }
        }
        (out, SavedBlock { folded, chunks: saved })
    }
}

/// The gradients of `h` and of every parameter from the gradient of the block's output.
struct Backward<'a> {
    geometry: Geometry,
    weights: &'a BlockWeights<&'a [f32]>,
    saved: &'a SavedBlock,
    gradient: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = BlockInputs<Vec<f32>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { geometry, weights, saved, gradient } = self;
        let d = geometry.d_model;
        let pass = Pass { simd, geometry, parameters: weights, folded: &saved.folded };
        let mut of_weights = zeros(d);
        let mut of_h = Vec::with_capacity(geometry.sequences * geometry.tokens * d);
        for (sequences, chunk) in chunks(&geometry).zip(&saved.chunks) {
            let mut gradient = by_token(simd, gradient, &sequences, [geometry.outputs(), d]);
            chunk.feed_forward_gradient(pass, &mut gradient, &mut of_weights);
            let gradient = chunk.attend_gradient(pass, gradient, &mut of_weights);
            push_by_sequence(&mut of_h, &gradient, sequences.len(), d);
        }
        unfold(simd, weights, geometry.attention_scale(), &mut of_weights);
        BlockInputs { weights: of_weights, h: of_h }
    }
}
