//! A transformer block as one operation.

#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuRuntime};
use crate::{BlockWeights, Inputs, Operation, cpu};

/// A pre-norm block, h + attention(norm(h)), then h + feed_forward(norm(h)), by what it is applied to.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Sequences, each of which attends to itself.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Width of the residual stream, a multiple of `n_heads`.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// The block's output is wanted at the tokens 0, every, 2·every, …
    pub every: usize,
}

/// What a block is computed from.
#[derive(Clone, Copy, Debug)]
pub struct BlockInputs<T> {
    /// Its parameters.
    pub weights: BlockWeights<T>,
    /// The residual stream before it, `[sequences, tokens, d_model]`.
    pub h: T,
}

impl Geometry {
    /// Tokens of a sequence that come out.
    pub fn outputs(&self) -> usize {
        self.tokens.div_ceil(self.every)
    }

    pub(crate) fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }
}

impl<T> Inputs<T, 13> for BlockInputs<T> {
    fn into_array(self) -> [T; 13] {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.weights.into_array();
        [a, b, c, d, e, f, g, h, i, j, k, l, self.h]
    }

    fn from_array([a, b, c, d, e, f, g, h, i, j, k, l, last]: [T; 13]) -> Self {
        Self { weights: BlockWeights::from_array([a, b, c, d, e, f, g, h, i, j, k, l]), h: last }
    }
}

impl Operation<13> for Geometry {
    type Inputs<T> = BlockInputs<T>;
    type Saved = cpu::SavedBlock;
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = gpu::SavedBlock<R>;

    fn shape(&self) -> Vec<usize> {
        vec![self.sequences, self.outputs(), self.d_model]
    }

    fn forward(&self, arch: Arch, inputs: BlockInputs<&[f32]>, save: bool) -> (Vec<f32>, cpu::SavedBlock) {
        cpu::block(*self, arch, inputs, save)
    }

    fn backward(
        &self,
        arch: Arch,
        inputs: BlockInputs<&[f32]>,
        saved: &cpu::SavedBlock,
        gradient: &[f32],
    ) -> BlockInputs<Option<Vec<f32>>> {
        let found = cpu::block_gradient(*self, arch, inputs.weights, saved, gradient);
        BlockInputs::from_array(found.into_array().map(Some))
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(&self, inputs: BlockInputs<CubeTensor<R>>) -> (CubeTensor<R>, gpu::SavedBlock<R>) {
        gpu::block(self, inputs)
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: BlockInputs<CubeTensor<R>>,
        saved: &gpu::SavedBlock<R>,
        gradient: CubeTensor<R>,
    ) -> BlockInputs<Option<CubeTensor<R>>> {
        BlockInputs::from_array(gpu::block_gradient(self, inputs, saved, gradient).into_array().map(Some))
    }
}
