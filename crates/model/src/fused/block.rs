//! A whole transformer block, forward and backward, over a few sequences at a time.
//!
//! What makes it fast: sequences go through in chunks whose intermediate values stay in cache; products write into the
//! residual stream directly; queries, keys and values are laid out with sequences side by side, as
//! [attention](super::attention) wants them; [`Folded`] maps make scale and shift of the norms free.

use std::ops::Range;

#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::{Arch, Simd, WithSimd};

use super::attention::LANES;
use super::buffer::Buffer;
use super::chunk::{Chunk, Pass};
use super::fold::{Folded, Parameters, unfold};
use super::geometry::Geometry;
use super::kernels::copy;
use super::operation::Operation;
#[cfg(feature = "gpu")]
use crate::gpu;

/// Tokens of a chunk: few enough to stay in a core's own cache, enough for products at their full rate.
const CHUNK: usize = 512;

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub(crate) struct Kept {
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

/// Inputs: the twelve parameters in the order of [`crate::Block`]'s fields, then `h`.
impl Operation<13> for Geometry {
    type Kept = Kept;
    #[cfg(feature = "gpu")]
    type KeptOnGpu<R: CubeRuntime> = gpu::Kept<R>;

    fn shape(&self) -> Vec<usize> {
        vec![self.sequences, self.outputs(), self.d_model]
    }

    fn forward(&self, arch: Arch, inputs: [&[f32]; 13], keep: bool) -> (Vec<f32>, Kept) {
        let (parameters, h) = Parameters::split(inputs);
        arch.dispatch(Forward { geometry: *self, parameters: &parameters, h, keep })
    }

    fn backward(&self, arch: Arch, inputs: [&[f32]; 13], kept: &Kept, gradient: &[f32]) -> [Option<Vec<f32>>; 13] {
        let (parameters, _) = Parameters::split(inputs);
        let (of_h, of_parameters) =
            arch.dispatch(Backward { geometry: *self, parameters: &parameters, kept, gradient });
        of_parameters.join(of_h).map(Some)
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: CubeRuntime>(&self, inputs: [CubeTensor<R>; 13]) -> (CubeTensor<R>, gpu::Kept<R>) {
        gpu::forward(self, inputs)
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: CubeRuntime>(
        &self,
        inputs: [CubeTensor<R>; 13],
        kept: &gpu::Kept<R>,
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; 13] {
        gpu::backward(self, inputs, kept, gradient).map(Some)
    }
}

/// `h + attention(norm(h))`, then `h + feed_forward(norm(h))`, at the tokens that are wanted; the chunks stay in
/// [`Kept`] only if asked.
struct Forward<'a> {
    geometry: Geometry,
    parameters: &'a Parameters<&'a [f32]>,
    h: &'a [f32],
    keep: bool,
}

impl WithSimd for Forward<'_> {
    type Output = (Vec<f32>, Kept);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { geometry, parameters, h, keep } = self;
        let d = geometry.d_model;
        let folded = Folded::new(simd, parameters, geometry.attention_scale());
        let pass = Pass { simd, geometry, parameters, folded: &folded };
        let mut out = Vec::with_capacity(geometry.sequences * geometry.outputs() * d);
        let mut kept = Vec::new();
        for sequences in chunks(&geometry) {
            let h = by_token(simd, h, &sequences, [geometry.tokens, d]);
            let mut chunk = Chunk::new(geometry, sequences.len());
            let mut h = chunk.attend(pass, h);
            chunk.feed_forward(pass, &mut h);
            push_by_sequence(&mut out, &h, sequences.len(), d);
            if keep {
                kept.push(chunk);
            }
        }
        (out, Kept { folded, chunks: kept })
    }
}

/// The gradients of `h` and of every parameter from the gradient of the block's output.
struct Backward<'a> {
    geometry: Geometry,
    parameters: &'a Parameters<&'a [f32]>,
    kept: &'a Kept,
    gradient: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = (Vec<f32>, Parameters<Vec<f32>>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { geometry, parameters, kept, gradient } = self;
        let d = geometry.d_model;
        let pass = Pass { simd, geometry, parameters, folded: &kept.folded };
        let mut of_parameters = Parameters::zeros(d);
        let mut of_h = Vec::with_capacity(geometry.sequences * geometry.tokens * d);
        for (sequences, chunk) in chunks(&geometry).zip(&kept.chunks) {
            let mut gradient = by_token(simd, gradient, &sequences, [geometry.outputs(), d]);
            chunk.feed_forward_gradient(pass, &mut gradient, &mut of_parameters);
            let gradient = chunk.attend_gradient(pass, gradient, &mut of_parameters);
            push_by_sequence(&mut of_h, &gradient, sequences.len(), d);
        }
        unfold(simd, parameters, geometry.attention_scale(), &mut of_parameters);
        (of_h, of_parameters)
    }
}
