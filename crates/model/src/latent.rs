//! The variant with an explicit latent between encoder and decoder.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Slice, Tensor, backend::Backend};
use kernels::{Kernels, NORM_EPSILON, linear};
use serde::{Deserialize, Serialize};

use crate::{Architecture, Heads};

/// The `[model]` field `latent`: the explicit variant, whose decoder sees the query and an inferred vector, no pairs.
///
/// | field | unit | range |
/// |---|---|---|
/// | `width` | numbers in the latent vector | 1 … `d_model` |
/// | `decoder_layers` | blocks behind it | 1 … `n_layers` − 1 |
///
/// A prompt then has at least two pairs: the second is the first of which something could be inferred.
///
/// # Source
/// Explicit against implicit inference of a latent: Mittal et al. (2024), arXiv 2405.19162. Widths and the place are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latent {
    /// Numbers in the latent vector.
    pub width: usize,
    /// Blocks behind it; those before it are the encoder.
    pub decoder_layers: usize,
}

/// The way from the encoder to the decoder. At every y token the encoder's state is squeezed into a few numbers z, and
/// the slot goes on with what they tell. At the x token behind it the stream begins anew, with the embedding of that x
/// times 1 + what z says of its gain: y = w·x is a product of what is inferred and what is asked, and a decoder that has
/// to find products of the two by itself stays for long where it predicts zero.
///
/// # Source
/// The gain: Perez et al. (2018), *FiLM*, arXiv 1709.07871.
#[derive(Module, Debug)]
pub(crate) struct Bottleneck<B: Backend> {
    norm: LayerNorm<B>,
    infer: Linear<B>,
    tell: Linear<B>,
    gain: Linear<B>,
}

impl<B: Kernels> Bottleneck<B> {
    /// One whose parameters are still to be loaded.
    pub(crate) fn empty(architecture: &Architecture, latent: Latent, device: &B::Device) -> Self {
        let (d_model, width) = (architecture.d_model, latent.width);
        Self {
            norm: LayerNormConfig::new(d_model).with_epsilon(NORM_EPSILON).init(device),
            infer: LinearConfig::new(d_model, width).init(device),
            tell: LinearConfig::new(width, d_model).init(device),
            gain: LinearConfig::new(width, d_model).init(device),
        }
    }

    /// What the decoder starts from.
    ///
    /// # Shapes
    /// `[batch, tokens, d_model]` twice, to the same
    pub(crate) fn forward(&self, embedded: Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, tokens, d_model] = h.dims();
        if tokens == 1 {
            return embedded;
        }
        let xs = embedded.slice_dim(1, Slice::new(0, None, 2));
        let n_points = xs.dims()[1];
        let latent = linear(&self.infer, self.norm.forward(h.slice_dim(1, Slice::new(1, None, 2))));
        let gain = linear(&self.gain, latent.clone().narrow(1, 0, n_points - 1)) + 1.0;
        let [first, behind] = [xs.clone().narrow(1, 0, 1), xs.narrow(1, 1, n_points - 1) * gain];
        let queries = Tensor::cat(vec![first, behind], 1);
        let mut told = linear(&self.tell, latent);
        if told.dims()[1] < n_points {
            // A last x without its y is filled up, so that tokens come in pairs, and cut off again.
            told = Tensor::cat(vec![told, queries.clone().narrow(1, n_points - 1, 1)], 1);
        }
        Tensor::stack::<4>(vec![queries, told], 2).reshape([batch, 2 * n_points, d_model]).narrow(1, 0, tokens)
    }
}

/// What a block of the decoder sees: sequences of two, an x token behind the latent of the pairs before it, which is in
/// the slot of the y before it. Before the first pair there is no latent, and behind the last y no query.
///
/// # Shapes
/// `[batch, tokens, d_model]` to `[batch (tokens / 2 + 1), 2, d_model]`
pub(crate) fn to_pairs<B: Backend>(h: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, tokens, d_model] = h.dims();
    // Two tokens that are the same attend like one, so doubling the ends makes pairs of (y, x): x1 x1, y1 x2, …
    let mut slots = vec![h.clone().narrow(1, 0, 1), h.clone()];
    if tokens.is_multiple_of(2) {
        slots.push(h.narrow(1, tokens - 1, 1));
    }
    Tensor::cat(slots, 1).reshape([batch * (tokens / 2 + 1), 2, d_model])
}

/// The inverse of [`to_pairs`].
pub(crate) fn from_pairs<B: Backend>(pairs: Tensor<B, 3>, tokens: usize) -> Tensor<B, 3> {
    let ([sequences, _, d_model], each) = (pairs.dims(), tokens / 2 + 1);
    pairs.reshape([sequences / each, 2 * each, d_model]).narrow(1, 1, tokens)
}

/// What heads do in such sequences as what they do among all tokens: none looks at a token outside its pair.
pub(crate) fn heads_from_pairs<B: Backend>(heads: Heads<B>, tokens: usize) -> Heads<B> {
    let ([sequences, n_heads, _, d_model], each) = (heads.writes.dims(), tokens / 2 + 1);
    let batch = sequences / each;
    let writes = heads.writes.reshape([batch, each, n_heads, 2, d_model]).swap_dims(1, 2);
    let writes = writes.reshape([batch, n_heads, 2 * each, d_model]).narrow(2, 1, tokens);
    let weights = heads.weights.reshape([batch, each, n_heads, 2, 2]).swap_dims(1, 2);
    let own_pair = Tensor::<B, 2>::eye(each, &weights.device()).reshape([1, 1, each, 1, each, 1]);
    let weights = weights.reshape([batch, n_heads, each, 2, 1, 2]) * own_pair;
    let weights = weights.reshape([batch, n_heads, 2 * each, 2 * each]).narrow(2, 1, tokens).narrow(3, 1, tokens);
    Heads { weights, writes }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, NdArray};
    use burn::module::AutodiffModule;
    use burn::optim::GradientsParams;
    use burn::tensor::TensorData;
    use burn_flex::Flex;

    use super::*;
    use crate::parameters::Load;
    use crate::weights::tests::random;
    use crate::{Block, Kind, Layer, Model, Weights, gradients_to_weights};

    const ARCHITECTURE: Architecture = Architecture {
        kind: Kind::Transformer,
        d_x: 3,
        n_points: 4,
        d_model: 12,
        n_layers: 4,
        n_heads: 3,
        latent: Some(Latent { width: 2, decoder_layers: 2 }),
    };

    /// An f32 has a precision of 6e-8; sums of some dozen terms are taken in another order, four blocks deep.
    const TOLERANCE: f32 = 1e-5;

    fn model<B: Kernels>(weights: &Weights) -> Model<B> {
        Model::new(&ARCHITECTURE, weights, &B::Device::default()).unwrap()
    }

    fn tensor<B: Backend, const D: usize>(shape: [usize; D], phase: f32) -> Tensor<B, D> {
        let values = (0..shape.iter().product()).map(|i| (0.7 * i as f32 + phase).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), &B::Device::default())
    }

    fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    fn assert_close(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= TOLERANCE * (1.0 + b.abs()), "{what}: {a} against {b}");
        }
    }

    fn predictions<B: Kernels>(weights: &Weights, ys: Tensor<B, 2>) -> Vec<f32> {
        host(model::<B>(weights).forward(tensor([2, 4, 3], 0.0), ys))
    }

    #[test]
    fn a_latent_that_says_nothing_hides_the_pairs() {
        let [ys, others] = [0.0, 1.0].map(|phase| tensor::<Flex, 2>([2, 4], phase));
        let mut weights = random(&ARCHITECTURE, 0);
        assert_ne!(predictions(&weights, ys.clone()), predictions(&weights, others.clone()));
        weights.get_mut("latent.infer.weight").unwrap().values.fill(0.0);
        assert_eq!(predictions(&weights, ys), predictions(&weights, others));
    }

    #[test]
    fn the_first_query_is_alone_and_no_y_reaches_its_own_query() {
        let weights = random(&ARCHITECTURE, 1);
        let before = predictions(&weights, tensor::<Flex, 2>([2, 4], 0.0));
        for changed in 0..4 {
            let ys = tensor::<Flex, 2>([2, 4], 0.0)
                .slice_assign([0..2, changed..changed + 1], Tensor::ones([2, 1], &Default::default()));
            let after = predictions(&weights, ys);
            for (i, (before, after)) in before.iter().zip(&after).enumerate() {
                assert_eq!(before != after, i % 4 > changed, "y{} and the prediction of y{}", changed + 1, i % 4 + 1);
            }
        }
    }

    /// The decoder by its definition: in sequences of a latent and a query, or of one of them alone.
    #[test]
    fn a_query_sees_the_latent_before_it_and_itself() {
        let weights = random(&ARCHITECTURE, 2).into_iter();
        let weights = weights.filter_map(|(name, tensor)| Some((name.strip_prefix("blocks.0.")?.to_owned(), tensor)));
        let (weights, device) = (weights.collect(), Default::default());
        let mut load = Load::new(&weights, &device);
        let block = Block::<NdArray>::empty(&ARCHITECTURE, &device).map(&mut load);
        for tokens in [1, 2, 5, 8] {
            let h = tensor([2, tokens, 12], 0.0);
            let decoded = from_pairs(block.forward(to_pairs(h.clone()), 1), tokens);
            for token in 0..tokens {
                let before = if token % 2 == 0 { token.min(1) } else { 0 };
                let seen = h.clone().narrow(1, token - before, before + 1);
                let expected = block.reference(seen, 1).narrow(1, before, 1);
                let found = decoded.clone().narrow(1, token, 1);
                assert_close(&host(found), &host(expected), &format!("token {token} of {tokens}"));
            }
        }
    }

    /// x2 is the third token, y1 before it the second.
    #[test]
    fn a_head_of_the_decoder_looks_at_the_latent_and_the_query_alone() {
        let model = model::<Flex>(&random(&ARCHITECTURE, 5));
        let stream = model.residual_stream(tensor([2, 4, 3], 0.0), tensor([2, 4], 0.0));
        for (layer, seen) in [(1, [true, true, true]), (3, [false, true, true])] {
            let heads = model.heads(Layer(layer), &stream.layers[0], stream.layers[layer - 1].clone()).unwrap();
            assert_eq!((heads.weights.dims(), heads.writes.dims()), ([2, 3, 8, 8], [2, 3, 8, 12]));
            for weights in host(heads.weights.narrow(2, 2, 1)).chunks(8) {
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < TOLERANCE, "{weights:?}");
                assert_eq!([weights[0] > 0.0, weights[1] > 0.0, weights[2] > 0.0], seen, "layer {layer}: {weights:?}");
            }
        }
    }

    #[test]
    fn all_of_the_stream_leads_to_the_predictions_of_training() {
        let (xs, ys) = (|| tensor::<Flex, 3>([2, 4, 3], 0.0), || tensor::<Flex, 2>([2, 4], 0.0));
        let model = model::<Flex>(&random(&ARCHITECTURE, 3));
        let stream = model.residual_stream(xs(), ys());
        assert_close(&host(model.forward(xs(), ys())), &host(stream.predictions), "predictions");
    }

    fn gradients<B: Kernels>(weights: &Weights) -> Weights {
        let model = model::<Autodiff<B>>(weights);
        let loss = model.forward(tensor([2, 4, 3], 0.0), tensor([2, 4], 0.0)).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        gradients_to_weights(&model.valid(), &gradients)
    }

    #[test]
    fn flex_agrees_with_ndarray_on_every_gradient() {
        let weights = random(&ARCHITECTURE, 4);
        let [found, expected] = [gradients::<Flex>(&weights), gradients::<NdArray>(&weights)];
        assert!(expected["latent.infer.weight"].values.iter().any(|value| *value != 0.0));
        for (name, expected) in &expected {
            assert_close(&found[name].values, &expected.values, name);
        }
        assert_eq!(found.len(), weights.len());
    }
}
