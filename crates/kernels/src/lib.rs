//! The parts of a transformer as one operation each, on CPU and GPU, with gradients written by hand.
//!
//! A backend that implements [`Kernels`] says by its [`Way`] whether it has such operations. The model calls
//! [`Way::run`] with two closures: one that names the fused operation and its inputs, and one that does the same in
//! ordinary tensor operations, which every backend has. Which of them is compiled in is decided by the type of the
//! backend. Tests of the model hold each fused operation to its ordinary twin, on outputs and on every gradient.
//!
//! The three principal types are [`Way`], [`Operation`] and [`BlockWeights`]; [`Device`] is the only place where a
//! backend is chosen. This crate knows no parameter by its name and no task.
//!
//! ```
//! use burn::tensor::{Tensor, TensorPrimitive};
//! use burn_flex::{Flex, FlexDevice};
//! use kernels::{Kernels, SquaredError, SquaredErrorInputs, Way};
//!
//! let primitive = |tensor: Tensor<Flex, 1>| tensor.into_primitive().tensor();
//! let [predictions, ys] = [[1.0, 4.0], [0.0, 2.0]].map(|values| Tensor::<Flex, 1>::from_floats(values, &FlexDevice));
//! let loss: Tensor<Flex, 1> = <Flex as Kernels>::Way::run(
//!     [predictions, ys],
//!     |[predictions, ys]| {
//!         let inputs = SquaredErrorInputs { predictions: primitive(predictions), ys: primitive(ys) };
//!         (SquaredError { total: 2.0 }, inputs)
//!     },
//!     |[predictions, ys]| (predictions - ys).powi_scalar(2).sum() / 2.0,
//! );
//! assert_eq!(loss.into_scalar(), 2.5);
//! ```

mod autodiff;
mod backend;
mod block;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod decoder;
mod device;
mod embedding_readout;
mod error;
mod f64_matmul;
mod freed_memory;
#[cfg(feature = "gpu")]
mod gpu;
mod host_memory;
mod loss;
mod operation;
mod orthogonal;
mod way;
mod weights;

pub use backend::{AdamStep, Kernels, Updates};
pub use block::{BlockInputs, Geometry};
pub use cpu::products_per_second;
pub use decoder::{Activation, Attend, Gate, Normalize, NormalizeInputs, Product, ProductInputs, Rope, Span};
pub use device::{Device, DeviceChoice, OnBackend};
pub use embedding_readout::{Embed, EmbedInputs, ReadOut, ReadOutInputs};
pub use error::DeviceError;
pub use f64_matmul::{linear, product};
pub use freed_memory::keep_freed_memory;
#[cfg(feature = "gpu")]
pub use gpu::GpuRuntime;
pub use loss::{SquaredError, SquaredErrorInputs};
pub use operation::{AnySaved, Inputs, Operation};
pub use way::{Back, Fused, FusedKernels, Ordinary, Recorded, Way};
pub use weights::{BlockWeights, Linear, Norm};

/// GPT-2's layer-norm constant, which is added to the variance.
pub const NORM_EPSILON: f64 = 1e-5;
