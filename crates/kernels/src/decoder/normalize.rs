//! The norms of rows.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

use super::{Described, apply};
#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuRuntime};
use crate::{Inputs, Kernels, Operation, cpu};

/// Layer norm, (x − mean) / √(variance + ε) · γ + β of every row, or root-mean-square norm, the same with a mean of zero.
#[derive(Clone, Copy, Debug)]
pub struct Normalize {
    /// Whether the mean is taken away: layer norm does, root-mean-square norm does not.
    pub centred: bool,
    /// Added to the variance, ε.
    pub epsilon: f32,
    /// Rows, and how wide they are.
    pub shape: [usize; 2],
}

/// What a norm is computed from. Scale and shift are constants: they get no gradient.
#[derive(Clone, Copy, Debug)]
pub struct NormalizeInputs<T> {
    /// γ, `[1, width]`
    pub scale: T,
    /// β, `[1, width]`
    pub shift: T,
    /// `[rows, width]`
    pub x: T,
}

impl<T> Inputs<T, 3> for NormalizeInputs<T> {
    fn into_array(self) -> [T; 3] {
        [self.scale, self.shift, self.x]
    }

    fn from_array([scale, shift, x]: [T; 3]) -> Self {
        Self { scale, shift, x }
    }
}

impl Normalize {
    /// The normalised rows.
    pub fn apply<B: Kernels>(self, inputs: NormalizeInputs<Tensor<B, 2>>) -> Tensor<B, 2> {
        apply(self, inputs.into_array())
    }
}

impl Described<3> for Normalize {
    fn ordinary<B: Backend>(&self, [scale, shift, x]: [Tensor<B, 2>; 3]) -> Tensor<B, 2> {
        let x = if self.centred { x.clone() - x.mean_dim(1) } else { x };
        let variance = (x.clone() * x.clone()).mean_dim(1);
        x / (variance + self.epsilon).sqrt() * scale + shift
    }
}

impl Operation<3> for Normalize {
    type Inputs<T> = NormalizeInputs<T>;
    type Saved = ();
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = ();

    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn forward(&self, arch: Arch, inputs: NormalizeInputs<&[f32]>, _: bool) -> (Vec<f32>, ()) {
        (cpu::normalize(*self, arch, inputs), ())
    }

    fn backward(
        &self,
        arch: Arch,
        inputs: NormalizeInputs<&[f32]>,
        (): &(),
        gradient: &[f32],
    ) -> NormalizeInputs<Option<Vec<f32>>> {
        NormalizeInputs { scale: None, shift: None, x: Some(cpu::normalize_gradient(*self, arch, inputs, gradient)) }
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(&self, inputs: NormalizeInputs<CubeTensor<R>>) -> (CubeTensor<R>, ()) {
        (gpu::ordinary(self, inputs.into_array()), ())
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: NormalizeInputs<CubeTensor<R>>,
        (): &(),
        gradient: CubeTensor<R>,
    ) -> NormalizeInputs<Option<CubeTensor<R>>> {
        let of_x = gpu::ordinary_gradient(self, inputs.into_array(), gradient);
        NormalizeInputs { scale: None, shift: None, x: Some(of_x) }
    }
}
