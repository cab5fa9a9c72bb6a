//! What is done in one piece, on a CPU's slices or a GPU's tensors.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

#[cfg(feature = "gpu")]
use crate::gpu::GpuRuntime;

/// A function of N tensors that is computed in one piece, with its gradient written by hand.
pub trait Operation<const N: usize>: Clone + Debug + Send + Sync + 'static {
    /// One thing for every input, by name: a tensor, its elements or its gradient.
    type Inputs<T>: Inputs<T, N>;
    /// What the gradient needs of the forward pass on a CPU.
    type Saved: Debug + Send + Sync + 'static;
    /// The same on a GPU.
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime>: Send + Sync + 'static;

    /// Shape of the result.
    fn shape(&self) -> Vec<usize>;

    /// The result by the instructions of `arch`; what the gradient needs is complete only if it is to be saved.
    fn forward(&self, arch: Arch, inputs: Self::Inputs<&[f32]>, save: bool) -> (Vec<f32>, Self::Saved);

    /// The gradient of every input from that of the result; of an input that is always a constant, none.
    fn backward(
        &self,
        arch: Arch,
        inputs: Self::Inputs<&[f32]>,
        saved: &Self::Saved,
        gradient: &[f32],
    ) -> Self::Inputs<Option<Vec<f32>>>;

    /// The result on a GPU, and what the gradient needs.
    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: Self::Inputs<CubeTensor<R>>,
    ) -> (CubeTensor<R>, Self::SavedOnGpu<R>);

    /// As [`backward`](Self::backward), on a GPU.
    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: Self::Inputs<CubeTensor<R>>,
        saved: &Self::SavedOnGpu<R>,
        gradient: CubeTensor<R>,
    ) -> Self::Inputs<Option<CubeTensor<R>>>;
}

/// One thing for each of N inputs. Whoever treats all inputs alike takes them as an array, all others by their names.
pub trait Inputs<T, const N: usize> {
    /// In the order of the fields.
    fn into_array(self) -> [T; N];

    /// The inverse of [`into_array`](Self::into_array).
    fn from_array(all: [T; N]) -> Self;
}

/// What the gradient of an operation needs, of whichever operation and backend.
pub type AnySaved = Arc<dyn Any + Send + Sync>;

impl<T, const N: usize> Inputs<T, N> for [T; N] {
    fn into_array(self) -> [T; N] {
        self
    }

    fn from_array(all: [T; N]) -> Self {
        all
    }
}
