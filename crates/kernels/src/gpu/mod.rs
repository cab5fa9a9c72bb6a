//! Operations in one piece on a GPU: products by our kernel where there are tensor cores, else by CubeCL's, and everything
//! between them by a few more of our own.
//!
//! A step of a small model on a GPU waits for the host to launch kernels, so there are as few as can be. Generic over
//! the runtime; nothing here knows CUDA.

#![allow(clippy::manual_is_multiple_of, reason = "CubeCL knows %, and not is_multiple_of")]

mod attention;
mod attention_cores;
mod backend;
mod block;
mod embedding_readout;
mod epilogue;
mod loss;
mod ordinary;
mod products;
mod rows;
mod sums;
mod tensor_cores;
mod tf32;
mod tiles;
mod update;

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::MemoryLayoutDescriptor;

use crate::Inputs;

pub(crate) use block::{SavedBlock, block, block_gradient};
pub(crate) use embedding_readout::{embed, embed_gradient, read_out, read_out_gradient};
pub(crate) use loss::{squared_error, squared_error_gradient};
pub use ordinary::GpuRuntime;
pub(crate) use ordinary::{ordinary, ordinary_gradient};

/// Whether products are taken in f64.
const F64_PRODUCTS: bool = cfg!(feature = "cuda-f64");

/// What a product's factors are.
#[cfg(feature = "cuda")]
pub(crate) fn products_are<R: Runtime>(client: &ComputeClient<R>) -> &'static str {
    match (F64_PRODUCTS, tensor_cores::available(client)) {
        (true, _) => "f64",
        (false, true) => "TF32",
        (false, false) => "f32",
    }
}

/// Units of a cube, where nothing else asks for another number.
const UNITS: u32 = 256;

/// Rows that a cube works on where a row is summed by a plane.
const ROWS: u32 = 8;

/// Neighbouring numbers that a product's kernel reads and writes at a time.
const VECTOR: usize = 4;

/// New tensors of f32 on the device of another, side by side in one piece of its memory: every search for a piece costs
/// the host time, and more the more there are.
fn empty_all<R: CubeRuntime, const D: usize>(like: &CubeTensor<R>, shapes: &[[usize; D]]) -> Vec<CubeTensor<R>> {
    let layout = |shape: &[usize; D]| MemoryLayoutDescriptor::contiguous((*shape).into(), size_of::<f32>());
    let found = like.client.empty_tensors(shapes.iter().map(layout).collect());
    let tensor = |handle, shape: &[usize; D]| {
        CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), (*shape).into(), handle, DType::F32)
    };
    found.into_iter().zip(shapes).map(|(layout, shape)| tensor(layout.memory, shape)).collect()
}

/// [`empty_all`], of some matrices.
fn empty<R: CubeRuntime, const N: usize>(like: &CubeTensor<R>, shapes: [[usize; 2]; N]) -> [CubeTensor<R>; N] {
    let [found] = empty_groups(like, [shapes]);
    found
}

/// The same of some groups of matrices.
fn empty_groups<R: CubeRuntime, const N: usize, const M: usize>(
    like: &CubeTensor<R>,
    shapes: [[[usize; 2]; N]; M],
) -> [[CubeTensor<R>; N]; M] {
    let mut found = empty_all(like, shapes.as_flattened()).into_iter();
    shapes.map(|group| group.map(|_| found.next().expect("there are as many tensors as shapes")))
}

/// The same elements in another shape.
fn shaped<R: CubeRuntime>(tensor: CubeTensor<R>, shape: &[usize]) -> CubeTensor<R> {
    CubeTensor::new_contiguous(tensor.client, tensor.device, shape.into(), tensor.handle, tensor.dtype)
}

/// The same elements in the shape of another tensor.
fn like<R: CubeRuntime>(other: &CubeTensor<R>, tensor: CubeTensor<R>) -> CubeTensor<R> {
    shaped(tensor, other.meta.shape().as_slice())
}

/// Inputs whose rows lie behind each other in memory.
fn contiguous<R: CubeRuntime, I: Inputs<CubeTensor<R>, N>, const N: usize>(inputs: I) -> I {
    I::from_array(inputs.into_array().map(into_contiguous))
}

/// As a kernel takes it, without a copy of all that a tensor is beside its memory: a step has hundreds of these.
fn arg<R: CubeRuntime>(tensor: &CubeTensor<R>) -> ArrayArg<R> {
    #[expect(unsafe_code, reason = "nothing checks the length, which is the tensor's own")]
    unsafe {
        ArrayArg::from_raw_parts(tensor.handle.clone(), len(tensor))
    }
}

fn len<R: CubeRuntime>(tensor: &CubeTensor<R>) -> usize {
    tensor.meta.shape().num_elements()
}

/// Cubes with a unit for every element.
fn by_element<R: CubeRuntime>(tensor: &CubeTensor<R>) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(UNITS);
    (calculate_cube_count_elemwise(&tensor.client, len(tensor), dim), dim)
}

/// A cube of a few planes, each of which sums something up.
fn planes<R: CubeRuntime>(client: &ComputeClient<R>) -> CubeDim {
    CubeDim::new_2d(client.properties().hardware.plane_size_max, ROWS)
}

/// Cubes with a plane for every row.
fn by_row<R: CubeRuntime>(matrix: &CubeTensor<R>) -> (CubeCount, CubeDim) {
    let dim = planes(&matrix.client);
    (calculate_cube_count_elemwise(&matrix.client, matrix.meta.shape()[0] * dim.x as usize, dim), dim)
}

/// In TF32 there would be little to compare.
#[cfg(all(test, any(feature = "wgpu", feature = "cuda-f64")))]
mod tests {
    use burn::backend::NdArray;
    use burn::tensor::Tensor;
    use rand::{RngExt, SeedableRng};

    use crate::{AdamStep, Kernels, Updates};

    #[cfg(feature = "cuda-f64")]
    type Gpu = burn::backend::Cuda;
    #[cfg(not(feature = "cuda-f64"))]
    type Gpu = burn::backend::Wgpu;

    /// Largest difference, over the largest value of the reference.
    const TOLERANCE: f32 = 5e-6;

    fn host<B: Kernels>(tensor: Tensor<B, 1>) -> Vec<f32> {
        tensor.into_data().to_vec().expect("the tensors are f32")
    }

    fn assert_close(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let scale = expected.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= TOLERANCE * scale, "{what}[{i}]: {a} against {b}, of at most {scale}");
        }
    }

    #[test]
    fn adam_and_squares_equal_the_reference() {
        fn update<B: Kernels>(clips: bool) -> Vec<Vec<f32>> {
            let (device, mut rng) = (B::Device::default(), rand_chacha::ChaCha8Rng::seed_from_u64(0));
            let mut tensor = || {
                let values: Vec<f32> = (0..70_001).map(|_| rng.random_range(-1.0..1.0)).collect();
                Tensor::<B, 1>::from_floats(values.as_slice(), &device).abs()
            };
            let (state, held, gradient) = ([tensor(), tensor(), tensor()], [tensor(), tensor(), tensor()], tensor());
            let step = AdamStep { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, rate: 1e-2, root: 30.0 };
            let mut updates = Updates::new(step, clips.then(|| Tensor::from_floats([0.25], &device)));
            let squares = B::squares(vec![gradient.clone(), held[0].clone()]);
            let part = held.clone().map(|tensor| tensor.narrow(0, 0, 3));
            let found = [
                B::adam(&mut updates, state, gradient.clone()),
                B::adam(&mut updates, held.clone(), gradient.clone()),
                B::adam(&mut updates, part, gradient.narrow(0, 3, 3)),
            ];
            B::finish(updates);
            found.into_iter().flatten().chain(held).chain([squares]).map(host).collect()
        }
        for clips in [false, true] {
            for (i, (found, expected)) in update::<Gpu>(clips).iter().zip(&update::<NdArray>(clips)).enumerate() {
                assert_close(found, expected, &format!("{i}"));
            }
        }
    }
}
