//! A block and a model on a GPU, held to the reference on ndarray. In TF32 there would be little to compare.

use burn::backend::{Autodiff, NdArray};
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, TensorMetadata};
use kernels::Inputs;
use rand::SeedableRng;

use crate::fused_tests::{SHAPES, assert_close, random, random_block};
use crate::weights::tests::random as random_weights;
use crate::{Architecture, Kernels, Kind, Latent, Model, gradients_to_weights, squared_error};

#[cfg(feature = "cuda-f64")]
type Gpu = burn::backend::Cuda;
#[cfg(not(feature = "cuda-f64"))]
type Gpu = burn::backend::Wgpu;

fn host<B: Kernels, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().to_vec().expect("the tensors are f32")
}

/// The output of a block and the gradients of its inputs, for random parameters, states and gradients of the output.
fn block<B: Kernels>(shape: [usize; 5], fused: bool) -> Vec<Vec<f32>> {
    let (device, mut rng) = (B::Device::default(), rand_chacha::ChaCha8Rng::seed_from_u64(0));
    let [sequences, tokens, d_model, _, every] = shape;
    let block = random_block::<Autodiff<B>>(shape, &mut rng, &device);
    let tensor = |tokens: usize, rng: &mut _| {
        let values = random(sequences * tokens * d_model, rng);
        Tensor::<Autodiff<B>, 3>::from_data(TensorData::new(values, [sequences, tokens, d_model]), &device)
    };
    let h = tensor(tokens, &mut rng).require_grad();
    let toward = tensor(tokens.div_ceil(every), &mut rng);
    let inputs = block.inputs(h.clone()).into_array();
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
fn model<B: Kernels>(architecture: &Architecture, prompts: usize) -> Vec<Vec<f32>> {
    let (device, mut rng) = (B::Device::default(), rand_chacha::ChaCha8Rng::seed_from_u64(0));
    let Architecture { d_x, n_points, .. } = *architecture;
    let model = Model::<Autodiff<B>>::new(architecture, &random_weights(architecture, 0), &device)
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
    for (prompts, d_x, n_points, d_model, latent) in [(1, 1, 1, 5, None), (6, 3, 20, 24, None), (5, 2, 4, 24, latent)] {
        let kind = Kind::Transformer;
        let architecture = Architecture { kind, d_x, n_points, d_model, n_layers: 3, n_heads: 1, latent };
        let (found, expected) = (model::<Gpu>(&architecture, prompts), model::<NdArray>(&architecture, prompts));
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_close(found, expected, &format!("{architecture:?}: {i}"));
        }
    }
}
