//! Parameters on the host.

use std::collections::BTreeMap;

use crate::{Architecture, Layer};

/// A tensor on the host, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// The product of `shape` many values.
    pub values: Vec<f32>,
}

/// A model's parameters (or one number for each of them: gradients, moments) on the host, by name.
///
/// Names are the paths of the fields in [`Model`](crate::Model): `blocks.0.attention_norm.gamma`.
pub type Weights = BTreeMap<String, HostTensor>;

/// The weights with one attention head switched off: the rows of the output projection that read from it are zero.
///
/// `layer` is the one that the head's block writes, from 1; heads count from 1 as well.
///
/// # Panics
/// When the architecture has no such layer or head, or the weights are not of it.
pub fn without_head(architecture: &Architecture, weights: &Weights, layer: Layer, head: usize) -> Weights {
    let rows = architecture.d_model / architecture.n_heads * architecture.d_model;
    let mut pruned = weights.clone();
    let name = format!("blocks.{}.attention_out.weight", layer.0 - 1);
    let out = pruned.get_mut(&name).expect("the weights have every block of the architecture");
    out.values[(head - 1) * rows..head * rows].fill(0.0);
    pruned
}

/// A model in two parts, of one architecture: everything up to `layer` from `early`, everything behind it from `late`.
///
/// With layer 0 only the read-in and the positions are of `early`; with the last layer only the final norm and the
/// read-out are of `late`. A latent goes with the first block of the decoder.
///
/// # Panics
/// When a parameter of `early` is missing in `late`.
pub fn transplant(architecture: &Architecture, early: &Weights, late: &Weights, layer: Layer) -> Weights {
    let part = |(name, tensor): (&String, &HostTensor)| {
        let is_early = writes_to(architecture, name).is_some_and(|written| written <= layer);
        let donor = if is_early { tensor } else { &late[name] };
        (name.clone(), donor.clone())
    };
    early.iter().map(part).collect()
}

/// The layer whose states a parameter helps to make; none for the final norm and the read-out, behind all layers.
fn writes_to(architecture: &Architecture, name: &str) -> Option<Layer> {
    let mut path = name.split('.');
    match path.next()? {
        "read_in" | "positions" => Some(Layer(0)),
        "latent" => Some(Layer(architecture.encoder_layers() + 1)),
        "blocks" => path.next()?.parse().ok().map(|index: usize| Layer(index + 1)),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::backend::NdArray;
    use burn::tensor::{Tensor, TensorData};
    use burn_flex::Flex;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{Kernels, Kind, Latent, Model};

    const ARCHITECTURE: Architecture = Architecture {
        kind: Kind::Transformer,
        d_x: 3,
        n_points: 4,
        d_model: 12,
        n_layers: 3,
        n_heads: 3,
        latent: None,
    };

    /// Every parameter random, biases, scales and shifts included.
    pub(crate) fn random(architecture: &Architecture, seed: u64) -> Weights {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = |len: usize| (0..len).map(|_| rng.random_range(-0.5..0.5)).collect();
        let mut parameter = |spec: crate::parameters::Spec| {
            let values = values(spec.shape.iter().product());
            (spec.name, HostTensor { shape: spec.shape, values })
        };
        architecture.specs().into_iter().map(&mut parameter).collect()
    }

    fn model<B: Kernels>(weights: &Weights) -> Model<B> {
        Model::new(&ARCHITECTURE, weights, &B::Device::default()).unwrap()
    }

    /// Two prompts.
    fn batch<B: Kernels>() -> (Tensor<B, 3>, Tensor<B, 2>) {
        let ramp = |len: usize| (0..len).map(|i| (0.7 * i as f32).sin()).collect::<Vec<_>>();
        let device = B::Device::default();
        let xs = Tensor::from_data(TensorData::new(ramp(24), [2, 4, 3]), &device);
        (xs, Tensor::from_data(TensorData::new(ramp(8), [2, 4]), &device))
    }

    fn predictions<B: Kernels>(weights: &Weights) -> Vec<f32> {
        let (xs, ys) = batch::<B>();
        host(model::<B>(weights).forward(xs, ys))
    }

    fn host<B: Kernels, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    /// The weights with a head that mixes nothing but zeros, which takes another way to the same end.
    fn without_values(weights: &Weights, layer: Layer, head: usize) -> Weights {
        let (d_model, d_head) = (12, 4);
        let mut silent = weights.clone();
        for field in ["weight", "bias"] {
            let name = format!("blocks.{}.query_key_value.{field}", layer.0 - 1);
            for row in silent.get_mut(&name).unwrap().values.chunks_exact_mut(3 * d_model) {
                row[2 * d_model..][(head - 1) * d_head..head * d_head].fill(0.0);
            }
        }
        silent
    }

    fn check_every_head<B: Kernels>() {
        let weights = random(&ARCHITECTURE, 0);
        for (layer, head) in (1..=3).flat_map(|layer| (1..=3).map(move |head| (Layer(layer), head))) {
            let pruned = predictions::<B>(&without_head(&ARCHITECTURE, &weights, layer, head));
            assert_eq!(pruned, predictions::<B>(&without_values(&weights, layer, head)), "{layer:?}, head {head}");
            assert_ne!(pruned, predictions::<B>(&weights), "{layer:?}, head {head}");
        }
    }

    /// NdArray runs the reference block, flex the fused one.
    #[test]
    fn a_head_switched_off_is_one_whose_values_are_zero() {
        check_every_head::<NdArray>();
        check_every_head::<Flex>();
    }

    /// An f32 has a precision of 6e-8; sums of some dozen terms are taken in another order, in one block.
    const TOLERANCE: f32 = 1e-5;

    fn check_what_heads_add<B: Kernels>(architecture: &Architecture) {
        let (weights, device) = (random(architecture, 4), B::Device::default());
        let model = Model::<B>::new(architecture, &weights, &device).unwrap();
        let (xs, ys) = batch::<B>();
        let stream = model.residual_stream(xs, ys);
        for layer in (1..=3).map(Layer) {
            let (embedded, h) = (&stream.layers[0], stream.layers[layer.0 - 1].clone());
            let heads = model.heads(layer, embedded, h.clone()).unwrap();
            let block = |more| host(model.block_with(layer, embedded, h.clone(), more).unwrap());
            assert_eq!(block(stream.layers[0].zeros_like()), host(stream.layers[layer.0].clone()), "{layer:?}");
            for head in 1..=3 {
                let less = heads.writes.clone().narrow(1, head - 1, 1).squeeze_dim(1).neg();
                let pruned = Model::<B>::new(architecture, &without_head(architecture, &weights, layer, head), &device);
                let expected = host(pruned.unwrap().block(layer, embedded, h.clone()));
                for (found, expected) in block(less).into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= TOLERANCE * (1.0 + expected.abs()),
                        "{layer:?}, head {head}: {found}, {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn without_what_a_head_adds_a_block_is_one_with_the_head_switched_off() {
        let latent = Some(Latent { width: 2, decoder_layers: 2 });
        for architecture in [ARCHITECTURE, Architecture { latent, ..ARCHITECTURE }] {
            check_what_heads_add::<NdArray>(&architecture);
            check_what_heads_add::<Flex>(&architecture);
        }
    }

    #[test]
    fn a_transplant_goes_on_with_the_late_model_from_the_early_ones_states() {
        let [early, late] = [1, 2].map(|seed| random(&ARCHITECTURE, seed));
        for last in 0..=3 {
            let (xs, ys) = batch::<Flex>();
            let [first, second] = [&early, &late].map(model::<Flex>);
            let embedded = first.embed(xs.clone(), ys.clone());
            let h = (1..=last).fold(embedded.clone(), |h, layer| first.block(Layer(layer), &embedded, h));
            let h = (last + 1..=3).fold(h, |h, layer| second.block(Layer(layer), &embedded, h));
            let whole = model::<Flex>(&transplant(&ARCHITECTURE, &early, &late, Layer(last)));
            assert_eq!(host(whole.residual_stream(xs, ys).predictions), host(second.read_out(h)), "up to layer {last}");
        }
    }

    #[test]
    fn a_transplant_into_itself_is_itself() {
        let weights = random(&ARCHITECTURE, 3);
        for last in 0..=3 {
            assert_eq!(transplant(&ARCHITECTURE, &weights, &weights, Layer(last)), weights);
        }
    }
}
