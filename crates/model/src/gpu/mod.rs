//! Blocks on a GPU: products by CubeCL's kernels, and everything between them by a few of our own.
//!
//! A step of a small model on a GPU waits for the host to launch kernels, so there are as few as can be. Generic over
//! the runtime; nothing here knows CUDA.

#![allow(clippy::manual_is_multiple_of, reason = "CubeCL knows %, and not is_multiple_of")]

mod attention;
mod block;
mod rows;
mod update;

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

pub(crate) use block::{backward, forward};
pub(crate) use update::{adam, squares};

/// Units of a cube, where nothing else asks for another number.
const UNITS: u32 = 256;

/// Rows that a cube works on where a row is summed by a plane.
const ROWS: u32 = 8;

/// Rows that are summed by one kernel instead of two.
const FEW: usize = 32;

/// Rows and columns of the result that a cube of a product's kernel works on, about.
const TILE: usize = 64;

/// Tiles that keep a GPU busy.
const TILES: usize = 256;

/// A new tensor of f32, side by side in memory, on the device of another.
fn empty<R: CubeRuntime>(like: &CubeTensor<R>, shape: &[usize]) -> CubeTensor<R> {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape.into(), DType::F32)
}

/// The product of two matrices, either of which may be a [`transposed`] one; in TF32 where tensor cores do it.
fn product<R: CubeRuntime>(a: &CubeTensor<R>, b: &CubeTensor<R>) -> CubeTensor<R> {
    if cfg!(feature = "cuda-f64") {
        let [a, b] = [a, b].map(|factor| cast(factor.clone(), DType::F64));
        return into_contiguous(cast(multiply(a, b, None), DType::F32));
    }
    multiply(a.clone(), b.clone(), Some(empty(a, &[a.meta.shape()[0], b.meta.shape()[1]])))
}

/// The product of the last two dimensions, into `out` if there is one.
fn multiply<R: CubeRuntime>(a: CubeTensor<R>, b: CubeTensor<R>, out: Option<CubeTensor<R>>) -> CubeTensor<R> {
    let dtype = a.dtype;
    matmul(a, b, out, MatmulStrategy::default(), dtype).expect("there is a kernel for every product of matrices")
}

/// aᵀ b of two matrices of many rows, which are cut into parts where the result alone would not keep a GPU busy;
/// the products of the parts are added in their order. `sequences` is a number of equal parts that can be made.
fn product_over_rows<R: CubeRuntime>(a: &CubeTensor<R>, b: &CubeTensor<R>, sequences: usize) -> CubeTensor<R> {
    let [rows, n, m] = [a.meta.shape()[0], a.meta.shape()[1], b.meta.shape()[1]];
    let tiles = n.div_ceil(TILE) * m.div_ceil(TILE);
    let mut parts = 1;
    while parts * tiles < TILES && sequences.is_multiple_of(2 * parts) {
        parts *= 2;
    }
    if parts == 1 || cfg!(feature = "cuda-f64") {
        return product(&transposed(a), b);
    }
    let [mut a, b] = [(a, n), (b, m)].map(|(matrix, width)| shaped(matrix.clone(), &[parts, rows / parts, width]));
    a.meta.swap(1, 2);
    let out = empty(&b, &[parts, n, m]);
    shaped(column_sums(&shaped(multiply(a, b, Some(out)), &[parts, n * m])), &[n, m])
}

/// The same matrix seen the other way round.
fn transposed<R: CubeRuntime>(matrix: &CubeTensor<R>) -> CubeTensor<R> {
    let mut seen = matrix.clone();
    seen.meta.swap(0, 1);
    seen
}

/// The same elements in another shape.
fn shaped<R: CubeRuntime>(tensor: CubeTensor<R>, shape: &[usize]) -> CubeTensor<R> {
    CubeTensor::new_contiguous(tensor.client, tensor.device, shape.into(), tensor.handle, tensor.dtype)
}

fn len<R: CubeRuntime>(tensor: &CubeTensor<R>) -> usize {
    tensor.meta.shape().num_elements()
}

/// Cubes with a unit for every element.
fn by_element<R: CubeRuntime>(tensor: &CubeTensor<R>) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(UNITS);
    (calculate_cube_count_elemwise(&tensor.client, len(tensor), dim), dim)
}

/// Cubes with a plane for every row.
fn by_row<R: CubeRuntime>(matrix: &CubeTensor<R>) -> (CubeCount, CubeDim) {
    let plane = matrix.client.properties().hardware.plane_size_max;
    let dim = CubeDim::new_2d(plane, ROWS);
    (calculate_cube_count_elemwise(&matrix.client, matrix.meta.shape()[0] * plane as usize, dim), dim)
}

/// The sum of every column, `[rows, width]` to `[width]`, by a kernel that sums a given number of rows at a time.
fn sum_columns<R: CubeRuntime>(
    matrix: &CubeTensor<R>,
    first: impl FnOnce(&ComputeClient<R>, CubeCount, CubeDim, ArrayArg<R>, u32),
) -> CubeTensor<R> {
    let [rows, width] = [matrix.meta.shape()[0], matrix.meta.shape()[1]];
    let dim = CubeDim::new_1d(64);
    let count = |parts: usize| CubeCount::Static((width as u32).div_ceil(dim.x), parts as u32, 1);
    let at_a_time = if rows <= FEW { rows } else { rows.isqrt() };
    let parts = rows.div_ceil(at_a_time);
    let sums = empty(matrix, &[parts, width]);
    first(&matrix.client, count(parts), dim, sums.clone().into_array_arg(), at_a_time as u32);
    if parts == 1 {
        return shaped(sums, &[width]);
    }
    let sum = empty(matrix, &[width]);
    let (values, out) = (sums.into_array_arg(), sum.clone().into_array_arg());
    rows::column_sums::launch(&matrix.client, count(1), dim, values, out, parts as u32, width);
    sum
}

/// The sum of every column.
fn column_sums<R: CubeRuntime>(matrix: &CubeTensor<R>) -> CubeTensor<R> {
    let width = matrix.meta.shape()[1];
    sum_columns(matrix, |client, count, dim, sums, at_a_time| {
        rows::column_sums::launch(client, count, dim, matrix.clone().into_array_arg(), sums, at_a_time, width);
    })
}

/// In TF32 there would be little to compare.
#[cfg(all(test, any(feature = "wgpu", feature = "cuda-f64")))]
mod tests {
    use burn::backend::{Autodiff, NdArray};
    use burn::tensor::{Tensor, TensorData, TensorMetadata};
    use rand::SeedableRng;

    use crate::fused::tests::{SHAPES, assert_close, random, random_block};
    use crate::{AdamStep, FusedBackend};

    #[cfg(feature = "cuda-f64")]
    type Gpu = burn::backend::Cuda;
    #[cfg(not(feature = "cuda-f64"))]
    type Gpu = burn::backend::Wgpu;

    fn host<B: FusedBackend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
        tensor.into_data().to_vec().expect("the tensors are f32")
    }

    /// The output of a block and the gradients of its inputs, for random parameters, states and gradients of the output.
    fn block<B: FusedBackend>(shape: [usize; 5], fused: bool) -> Vec<Vec<f32>> {
        let (device, mut rng) = (B::Device::default(), rand_chacha::ChaCha8Rng::seed_from_u64(0));
        let [sequences, tokens, d_model, _, every] = shape;
        let block = random_block::<Autodiff<B>>(shape, &mut rng, &device);
        let tensor = |tokens: usize, rng: &mut _| {
            let values = random(sequences * tokens * d_model, rng);
            Tensor::<Autodiff<B>, 3>::from_data(TensorData::new(values, [sequences, tokens, d_model]), &device)
        };
        let h = tensor(tokens, &mut rng).require_grad();
        let toward = tensor(tokens.div_ceil(every), &mut rng);
        let inputs = block.inputs(h.clone());
        let output = if fused { block.forward(h, every) } else { block.reference(h, every) };
        let gradients = (output.clone() * toward).sum().backward();
        let found = inputs.iter().map(|input| {
            let gradient = gradients.get::<B>(input).expect("all inputs were tracked");
            let len = gradient.shape().num_elements();
            host(Tensor::<B, 1>::from_primitive(burn::tensor::TensorPrimitive::Float(B::float_reshape(
                gradient,
                [len].into(),
            ))))
        });
        std::iter::once(host(output.inner())).chain(found).collect()
    }

    #[test]
    fn outputs_and_gradients_equal_the_reference() {
        for shape in SHAPES {
            let (found, expected) = (block::<Gpu>(*shape, true), block::<NdArray>(*shape, false));
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_close(found, expected, &format!("{shape:?}: {i}"));
            }
        }
    }

    #[test]
    fn adam_and_squares_equal_the_reference() {
        fn update<B: FusedBackend>(clips: bool) -> Vec<Vec<f32>> {
            let (device, mut rng) = (B::Device::default(), rand_chacha::ChaCha8Rng::seed_from_u64(0));
            let mut tensor = || Tensor::<B, 1>::from_floats(random(70_001, &mut rng).as_slice(), &device).abs();
            let (state, gradient) = ([tensor(), tensor(), tensor()], tensor());
            let step = AdamStep { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, rate: 1e-2, root: 30.0 };
            let factor = clips.then(|| Tensor::from_floats([0.25], &device));
            let squares = B::squares(vec![gradient.clone(), state[0].clone()]);
            let before = state.clone();
            let found = B::adam(
                step,
                factor,
                vec![state.clone(), [0, 0, 0].map(|i| state[i].clone().narrow(0, 0, 3))],
                &[gradient.clone(), gradient.narrow(0, 3, 3)],
            );
            found.into_iter().flatten().chain(before).chain([squares]).map(host).collect()
        }
        for clips in [false, true] {
            for (i, (found, expected)) in update::<Gpu>(clips).iter().zip(&update::<NdArray>(clips)).enumerate() {
                assert_close(found, expected, &format!("{i}"));
            }
        }
    }
}
