//! Blocks in one piece, held to the reference in ordinary tensor operations.

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice, FlexTensor};
use kernels::{Geometry, Inputs, Kernels, Operation};
use pulp::Arch;
use rand::{RngExt, SeedableRng};

use crate::parameters::Load;
use crate::{Architecture, Block, Init, Kind, ModelConfig, Weights, Writes};

type Training = Autodiff<Flex>;

/// Largest difference between fused and reference values, over the largest reference value of the same tensor.
const TOLERANCE: f32 = 5e-6;

/// Sequences, tokens, width, heads, and every how many tokens the output is wanted.
pub(crate) const SHAPES: &[[usize; 5]] = &[
    [1, 1, 5, 1, 1],
    [1, 2, 16, 1, 2],
    [3, 1, 20, 4, 1],
    [5, 7, 24, 3, 1],
    [5, 7, 24, 3, 2],
    [2, 40, 33, 11, 1],
    [7, 39, 32, 2, 2],
    [19, 20, 64, 4, 1],
    [33, 40, 16, 2, 1],
    [18, 39, 16, 2, 2],
    [3, 17, 272, 1, 2],
];

/// Every instruction set this machine has, the one without vectors included.
fn instruction_sets() -> Vec<Arch> {
    #[cfg(target_arch = "x86_64")]
    let vectors = [pulp::x86::V3::try_new().map(Arch::V3), pulp::x86::V4::try_new().map(Arch::V4)];
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = [Some(Arch::new())];
    std::iter::once(Arch::Scalar).chain(vectors.into_iter().flatten()).collect()
}

pub(crate) fn random(len: usize, rng: &mut impl rand::Rng) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor(values: &[f32], shape: [usize; 3]) -> Tensor<Training, 3> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &FlexDevice)
}

fn host(tensor: Tensor<Flex, 3>) -> Vec<f32> {
    host_primitive(tensor.into_primitive().tensor())
}

fn host_primitive(tensor: FlexTensor) -> Vec<f32> {
    tensor.into_data().to_vec().expect("the tensors are f32")
}

pub(crate) fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * scale, "{what}[{i}]: {a} against {b}, of at most {scale}");
    }
}

/// A block with random parameters everywhere, biases, scales and shifts included.
pub(crate) fn random_block<B: Kernels>(
    [_, _, d_model, n_heads, _]: [usize; 5],
    rng: &mut impl rand::Rng,
    device: &B::Device,
) -> Block<B> {
    let kind = Kind::Transformer;
    let architecture = Architecture { kind, d_x: 1, n_points: 1, d_model, n_layers: 1, n_heads, latent: None };
    let config = ModelConfig {
        kind,
        d_model,
        n_layers: 1,
        n_heads,
        init: Init::FanIn,
        read_in_gain: 1.0,
        position_std: 1.0,
        latent: None,
    };
    let spread = 1.0 / (d_model as f32).sqrt();
    let mut weights = Weights::new();
    for (name, mut tensor) in config.init(&architecture, rng) {
        tensor.values.iter_mut().for_each(|value| *value += rng.random_range(-spread..spread));
        weights.insert(name.trim_start_matches("blocks.0.").to_owned(), tensor);
    }
    let mut load = Load::new(&weights, device);
    Block::empty(&architecture, device).map(&mut load)
}

#[test]
fn outputs_and_gradients_equal_the_reference_with_every_instruction_set() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    for shape @ [sequences, tokens, d_model, n_heads, every] in SHAPES.iter().copied() {
        let geometry = Geometry { sequences, tokens, d_model, n_heads, every };
        let block = random_block::<Training>(shape, &mut rng, &FlexDevice);
        let h = random(sequences * tokens * d_model, &mut rng);
        let toward = random(sequences * geometry.outputs() * d_model, &mut rng);

        let input = tensor(&h, [sequences, tokens, d_model]).require_grad();
        let output = block.reference(input.clone(), every);
        let loss = (output.clone() * tensor(&toward, [sequences, geometry.outputs(), d_model])).sum();
        let gradients = loss.backward();
        let inputs = block.operation(input, every).1.into_array().map(|operand| operand.tensor);
        let values = inputs.each_ref().map(|input| host_primitive(input.primitive.clone()));
        let reference = inputs.each_ref().map(|input| gradients.get::<Flex>(input));
        let reference = reference.map(|gradient| host_primitive(gradient.expect("all inputs were tracked")));

        for arch in instruction_sets() {
            let what = format!("{arch:?}, {shape:?}");
            let slices = || Inputs::from_array(values.each_ref().map(Vec::as_slice));
            let (found, saved) = geometry.forward(arch, slices(), true);
            assert_close(&found, &host(output.clone().inner()), &what);
            let found = geometry.backward(arch, slices(), &saved, &toward).into_array();
            for (i, (found, expected)) in found.iter().flatten().zip(&reference).enumerate() {
                assert_close(found, expected, &format!("{what}: input {i}"));
            }
        }
    }
}

#[test]
fn what_the_parts_write_adds_up_to_the_block() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    for shape @ [sequences, tokens, d_model, ..] in SHAPES.iter().copied() {
        let block = random_block::<Training>(shape, &mut rng, &FlexDevice).valid();
        let values = random(sequences * tokens * d_model, &mut rng);
        let h = tensor(&values, [sequences, tokens, d_model]).inner();
        let Writes { attention, feed_forward } = block.writes(h.clone());
        let sum = host(h.clone() + attention + feed_forward);
        assert_eq!(sum, host(block.reference(h.clone(), 1)), "the same operations in the same order, {shape:?}");
        assert_close(&host(block.forward(h, 1)), &sum, &format!("fused, {shape:?}"));
    }
}
