//! What a feed-forward part does between its products.

use std::f64::consts::{PI, SQRT_2};

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};
#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

use super::{Described, apply};
#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuRuntime};
use crate::{Kernels, Operation, cpu};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x σ(x)
    Silu,
    /// x Φ(x), exactly.
    Gelu,
    /// The same by its approximation with tanh.
    GeluTanh,
}

/// The activation of every element; where there are two halves side by side, that of the first times the second.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// The function.
    pub activation: Activation,
    /// Whether there are two halves.
    pub gated: bool,
    /// Rows, and how wide the result is.
    pub shape: [usize; 2],
}

impl Gate {
    /// The result.
    ///
    /// # Shapes
    /// `[rows, width]`, or with two halves `[rows, 2 width]`, to `[rows, width]`
    pub fn apply<B: Kernels>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        apply(self, [x])
    }
}

impl Described<1> for Gate {
    fn ordinary<B: Backend>(&self, [x]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        let [_, width] = self.shape;
        let of = |x: Tensor<B, 2>| match self.activation {
            Activation::Silu => activation::silu(x),
            Activation::Gelu => x.clone() * 0.5 * ((x / SQRT_2).erf() + 1.0),
            Activation::GeluTanh => {
                let inner = (x.clone() + x.clone().powi_scalar(3) * 0.044_715) * (2.0 / PI).sqrt();
                x * 0.5 * (inner.tanh() + 1.0)
            }
        };
        if self.gated { of(x.clone().narrow(1, 0, width)) * x.narrow(1, width, width) } else { of(x) }
    }
}

impl Operation<1> for Gate {
    type Inputs<T> = [T; 1];
    type Saved = ();
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = ();

    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn forward(&self, arch: Arch, [x]: [&[f32]; 1], _: bool) -> (Vec<f32>, ()) {
        (cpu::gate(*self, arch, x), ())
    }

    fn backward(&self, arch: Arch, [x]: [&[f32]; 1], (): &(), gradient: &[f32]) -> [Option<Vec<f32>>; 1] {
        [Some(cpu::gate_gradient(*self, arch, x, gradient))]
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
