use std::fmt;
use std::str::FromStr;

use burn::backend::NdArray;
use burn::backend::ndarray::NdArrayDevice;
use burn_flex::{Flex, FlexDevice};

use crate::{FusedBackend, ModelError};

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The CPU, by burn's flex backend: the fast one.
    #[default]
    Flex,
    /// The CPU, by burn's ndarray backend: a second opinion.
    NdArray,
    /// An NVIDIA GPU, by its number.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

/// Work that is generic over the backend.
pub trait OnBackend {
    /// What the work results in.
    type Output;
    /// Does the work on `device`.
    fn on<B: FusedBackend>(self, device: B::Device) -> Self::Output;
}

impl Device {
    /// Does `work` here: the only place where a backend is chosen.
    pub fn run<W: OnBackend>(self, work: W) -> W::Output {
        match self {
            Self::Flex => work.on::<Flex>(FlexDevice),
            Self::NdArray => work.on::<NdArray>(NdArrayDevice::Cpu),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => work.on::<burn::backend::Cuda>(burn::backend::cuda::CudaDevice::new(index)),
        }
    }

    /// Whether host threads do the arithmetic.
    pub fn is_cpu(self) -> bool {
        matches!(self, Self::Flex | Self::NdArray)
    }

    /// The accepted names.
    pub const NAMES: &str = if cfg!(feature = "cuda") { "flex, ndarray, cuda, cuda:N" } else { "flex, ndarray" };
}

impl FromStr for Device {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = match name {
            "flex" => Some(Self::Flex),
            "ndarray" => Some(Self::NdArray),
            #[cfg(feature = "cuda")]
            "cuda" => Some(Self::Cuda(0)),
            #[cfg(feature = "cuda")]
            _ => name.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Self::Cuda),
            #[cfg(not(feature = "cuda"))]
            _ => None,
        };
        found.ok_or_else(|| ModelError::OutOfRange {
            field: "device",
            range: format!("one of {}", Self::NAMES),
            value: name.to_owned(),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::NdArray => f.write_str("ndarray"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
