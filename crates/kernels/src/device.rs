//! Where the arithmetic is done, and work that is generic over it.

use std::fmt;
use std::str::FromStr;

use burn::backend::NdArray;
use burn::backend::ndarray::NdArrayDevice;
use burn_flex::{Flex, FlexDevice};

#[cfg(feature = "cuda")]
use crate::cuda;
use crate::host_memory::host_memory;
use crate::{DeviceError, Kernels};

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
    fn on<B: Kernels>(self, device: B::Device) -> Self::Output;
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

    /// Whether it answers. A CPU always does.
    ///
    /// # Errors
    /// [`DeviceError::NoAnswer`], which says what is missing: burn itself would panic.
    pub fn check(self) -> Result<Self, DeviceError> {
        match self {
            Self::Flex | Self::NdArray => Ok(self),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => match cuda::check(index) {
                Ok(()) => Ok(self),
                Err(reason) => Err(DeviceError::NoAnswer { device: self.to_string(), reason }),
            },
        }
    }

    /// Bytes of memory that this process may have there, a CPU's swap space too, if the system says so.
    pub fn memory(self) -> Option<u64> {
        match self {
            Self::Flex | Self::NdArray => host_memory(),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => cuda::memory(index),
        }
    }

    /// What the factors of a block's products are there: `f32`, `TF32` or `f64`.
    pub fn products(self) -> &'static str {
        match self {
            Self::Flex | Self::NdArray => "f32",
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => cuda::products(index),
        }
    }

    /// The first GPU if this program is built for GPUs and one answers, else flex.
    pub fn auto() -> Self {
        #[cfg(feature = "cuda")]
        if let Ok(gpu) = Self::Cuda(0).check() {
            return gpu;
        }
        Self::Flex
    }
}

/// Which device a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The fastest at hand: [`Device::auto`].
    Auto,
    /// This one and no other.
    Named(Device),
}

impl DeviceChoice {
    /// The accepted names.
    pub const NAMES: &str =
        if cfg!(feature = "cuda") { "auto, flex, ndarray, cuda, cuda:N" } else { "auto, flex, ndarray" };
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(device) => device.fmt(f),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let found = match name {
            "auto" => return Ok(Self::Auto),
            "flex" => Some(Device::Flex),
            "ndarray" => Some(Device::NdArray),
            #[cfg(feature = "cuda")]
            "cuda" => Some(Device::Cuda(0)),
            #[cfg(feature = "cuda")]
            _ => name.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Device::Cuda),
            #[cfg(not(feature = "cuda"))]
            _ => None,
        };
        found.map(Self::Named).ok_or_else(|| DeviceError::OutOfRange {
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
