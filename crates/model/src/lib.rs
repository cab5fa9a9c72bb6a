//! A sequence model that exposes its residual stream: a GPT-style transformer, or another [`Kind`].
//!
//! A [`Model`] is the fold of `embed`, `block` after `block`, and `read_out`; capturing hidden states is a loop
//! that keeps what is between them ([`Model::residual_stream`]). [`Weights`] are its parameters on the host, by
//! name: drawn by [`ModelConfig::init`], written to and read from safetensors. [`Device`]
//! chooses the backend; the crate `kernels` has the operations that are done in one piece.
//!
//! ```
//! use burn::tensor::Tensor;
//! use burn_flex::{Flex, FlexDevice};
//! use model::{Architecture, Init, Kind, Model, ModelConfig};
//! use rand::SeedableRng;
//!
//! let (kind, init, latent) = (Kind::Transformer, Init::FanIn, None);
//! let config = ModelConfig { kind, d_model: 16, n_layers: 2, n_heads: 4, init, read_in_gain: 1.0, position_std: 0.02, latent };
//! let architecture = config.architecture(8, 10).unwrap();
//! let weights = config.init(&architecture, &mut rand_chacha::ChaCha8Rng::seed_from_u64(0));
//! let model = Model::<Flex>::new(&architecture, &weights, &FlexDevice).unwrap();
//!
//! let (xs, ys) = (Tensor::ones([3, 10, 8], &FlexDevice), Tensor::ones([3, 10], &FlexDevice));
//! assert_eq!(model.forward(xs, ys).dims(), [3, 10]);
//! ```

mod batch;
mod block;
mod config;
mod ends;
mod error;
mod format;
mod free;
#[cfg(test)]
mod fused_tests;
#[cfg(all(test, any(feature = "wgpu", feature = "cuda-f64")))]
mod gpu_tests;
mod latent;
mod loss;
mod lstm;
mod model;
mod parameters;
mod tape;
mod transformer;
mod weights;

pub use batch::Batch;
pub use block::{Block, Heads, Writes};
pub use config::{Architecture, Init, ModelConfig};
pub use error::ModelError;
pub use format::{GPT2_MARK, decode, encode, gpt2};
pub use free::Free;
pub use kernels::{
    AdamStep, Device, DeviceChoice, DeviceError, Kernels, OnBackend, Updates, keep_freed_memory, products_per_second,
};
pub use latent::Latent;
pub use loss::squared_error;
pub use lstm::Lstm;
pub use model::{Kind, Layer, Model, ResidualStream};
pub use parameters::{gradients_from_weights, gradients_to_weights};
pub use transformer::Transformer;
pub use weights::{HostTensor, Weights, transplant, without_head};
