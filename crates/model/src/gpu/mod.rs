//! The model on a GPU: products by our kernel where there are tensor cores, else by CubeCL's, and everything between them
//! by a few more of our own.
//!
//! A step of a small model on a GPU waits for the host to launch kernels, so there are as few as can be. Generic over
//! the runtime; nothing here knows CUDA.

#![allow(clippy::manual_is_multiple_of, reason = "CubeCL knows %, and not is_multiple_of")]

mod attention;
mod attention_cores;
mod block;
mod endings;
mod ends;
mod loss;
mod products;
mod rows;
mod sums;
mod tensor_cores;
mod tiles;
mod update;

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::MemoryLayoutDescriptor;

pub(crate) use block::{Kept, backward, forward};
pub(crate) use ends::{embed, embed_gradient, read_out, read_out_gradient};
pub(crate) use loss::{squared_error, squared_error_gradient};
pub(crate) use update::{adam, own, squares};

/// Whether products are taken in f64.
pub(crate) const WIDE_PRODUCTS: bool = cfg!(feature = "cuda-f64");

/// What a product's factors are.
#[cfg(feature = "cuda")]
pub(crate) fn products_are<R: Runtime>(client: &ComputeClient<R>) -> &'static str {
    match (WIDE_PRODUCTS, tensor_cores::available(client)) {
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
    use burn::backend::{Autodiff, NdArray};
    use burn::module::AutodiffModule;
    use burn::optim::GradientsParams;
    use burn::tensor::{Tensor, TensorData, TensorMetadata};
    use rand::SeedableRng;

    use crate::fused::tests::{SHAPES, assert_close, random, random_block};
    use crate::weights::tests::random as random_weights;
    use crate::{
        AdamStep, Architecture, FusedBackend, Latent, Transformer, Updates, gradients_to_weights, squared_error,
    };

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

    /// The predictions of a model, its loss, and the gradients of all its parameters.
    fn model<B: FusedBackend>(architecture: &Architecture, prompts: usize) -> Vec<Vec<f32>> {
        let (device, mut rng) = (B::Device::default(), rand_chacha::ChaCha8Rng::seed_from_u64(0));
        let Architecture { d_x, n_points, .. } = *architecture;
        let model = Transformer::<Autodiff<B>>::new(architecture, &random_weights(architecture, 0), &device)
            .expect("random weights have the architecture's shapes");
        let [xs, ys] = [d_x, 1].map(|width| TensorData::from(random(prompts * n_points * width, &mut rng).as_slice()));
        let xs = Tensor::<Autodiff<B>, 1>::from_data(xs, &device).reshape([prompts, n_points, d_x]);
        let ys = Tensor::<Autodiff<B>, 1>::from_data(ys, &device).reshape([prompts, n_points]);
        let predictions = model.forward(xs, ys.clone());
        let loss = squared_error(predictions.clone(), ys, 7);
        let gradients = loss.backward();
        let gradients = gradients_to_weights(&model.valid(), &GradientsParams::from_grads(gradients, &model));
        let found = [host(predictions.inner()), host(loss.inner())];
        found.into_iter().chain(gradients.into_values().map(|tensor| tensor.values)).collect()
    }

    #[test]
    fn a_model_and_its_gradients_equal_the_reference() {
        let latent = Some(Latent { width: 2, decoder_layers: 2 });
        for (prompts, d_x, n_points, d_model, latent) in
            [(1, 1, 1, 5, None), (6, 3, 20, 24, None), (5, 2, 4, 24, latent)]
        {
            let architecture = Architecture { d_x, n_points, d_model, n_layers: 3, n_heads: 1, latent };
            let (found, expected) = (model::<Gpu>(&architecture, prompts), model::<NdArray>(&architecture, prompts));
            assert_eq!(found.len(), expected.len());
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_close(found, expected, &format!("{architecture:?}: {i}"));
            }
        }
    }

    #[test]
    fn adam_and_squares_equal_the_reference() {
        fn update<B: FusedBackend>(clips: bool) -> Vec<Vec<f32>> {
            let (device, mut rng) = (B::Device::default(), rand_chacha::ChaCha8Rng::seed_from_u64(0));
            let mut tensor = || Tensor::<B, 1>::from_floats(random(70_001, &mut rng).as_slice(), &device).abs();
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
