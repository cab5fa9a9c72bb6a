//! Whether an NVIDIA GPU can be used, asked before burn does: burn panics, on a thread of its own, when it cannot. And what
//! it is.

use burn::backend::cuda::CudaDevice;
use cubecl::Runtime;
use cubecl_cuda::CudaRuntime;
use cubecl_cuda::install::cuda_path;
use cudarc::driver::result::{device, init};
use cudarc::{driver, nvrtc};

use crate::gpu;

/// Errors with what is missing: the driver, the GPU, or what compiles kernels when the program runs.
pub(crate) fn check(index: usize) -> Result<(), String> {
    // Finding a library runs its initialisation, which for NVIDIA's has no conditions.
    #[expect(unsafe_code, reason = "loading a library runs code of it")]
    let [has_driver, has_compiler] = unsafe { [driver::sys::is_culib_present(), nvrtc::sys::is_culib_present()] };
    if !has_driver {
        return Err("NVIDIA's driver (libcuda) is not installed".to_owned());
    }
    let said = |error: driver::DriverError| format!("NVIDIA's driver says {error}");
    init().map_err(said)?;
    let count = usize::try_from(device::get_count().map_err(said)?).unwrap_or(0);
    if index >= count {
        return Err(format!("GPUs are counted from 0, and there are {count}"));
    }
    if !has_compiler {
        return Err("CUDA's runtime compiler (libnvrtc) is not installed".to_owned());
    }
    match cuda_path() {
        Some(_) => Ok(()),
        None => {
            Err("CUDA's headers are not installed; they are looked for where CUDA_PATH says, in /usr/local/cuda and \
             in /opt/cuda"
                .to_owned())
        }
    }
}

/// Bytes of a GPU's memory.
pub(crate) fn memory(index: usize) -> Option<u64> {
    let gpu = device::get(i32::try_from(index).ok()?).ok()?;
    #[expect(unsafe_code, reason = "the handle is one that the driver has just given")]
    let bytes = unsafe { device::total_mem(gpu) };
    Some(bytes.ok()? as u64)
}

/// What its factors are in products.
pub(crate) fn products(index: usize) -> &'static str {
    gpu::products_are(&CudaRuntime::client(&CudaDevice::new(index)))
}
