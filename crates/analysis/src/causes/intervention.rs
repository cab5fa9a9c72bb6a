//! Changes of the residual stream at one token, and the predictions that follow from them.

use burn::tensor::{Tensor, TensorData};
use data::{ConceptId, Prompt, Stream, Token};
use model::{Batch, Kernels, Layer, ResidualStream, Transformer};
use nalgebra::DVector;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::Representations;
use crate::states::{CHUNK, to_vec};

/// What is done to the residual stream h of a prompt at one layer and token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Intervention {
    /// h is replaced by itself: the control that must change nothing.
    Nothing,
    /// h is replaced by an activation.
    Replace(Activation),
    /// h + strength · (activation − the mean over concepts): steering.
    Add(Activation, f64),
}

/// An activation that a state is changed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// The mean of a concept.
    Concept(ConceptId),
    /// The mean over concepts.
    Overall,
    /// A direction drawn anew for every prompt, its number in the list being the index in the stream, as long as what
    /// the mean of the prompt's own concept would have brought in.
    Random(Stream),
}

/// Mean activations at one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Means {
    /// `[layers + 1][n_concepts][d_model]`
    by_layer: Vec<Vec<DVector<f64>>>,
}

/// Predictions of the last y of some prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct Intervened {
    /// Of the model as it is, `[n_prompts]`.
    pub plain: Vec<f64>,
    /// Under each of the interventions, `[interventions][n_prompts]`.
    pub changed: Vec<Vec<f64>>,
}

impl Means {
    /// Means over the prompts of each concept at `token`, at every layer.
    ///
    /// # Panics
    /// When there is no prompt, none of a concept below the highest, or the token is outside the prompts.
    pub fn of<B: Kernels>(model: &Transformer<B>, prompts: &[Prompt], token: Token, device: &B::Device) -> Self {
        let states = Representations::collect(model, prompts, &[token], device);
        let n_concepts = 1 + states.labels.iter().max().expect("there is a prompt");
        let mean = |layer, concept| {
            let members = states.states(layer, 0);
            let members = members.rows().row_iter().zip(&states.labels).filter(|(_, label)| **label == concept);
            let (sum, n) = members
                .fold((DVector::zeros(states.d_model()), 0), |(sum, n), (state, _)| (sum + state.transpose(), n + 1));
            assert!(n > 0, "concept {concept} has no prompt");
            sum / f64::from(n)
        };
        let of_layer = |layer| (0..n_concepts).map(|concept| mean(layer, concept)).collect();
        Self { by_layer: (0..states.n_layers()).map(of_layer).collect() }
    }

    /// The mean of a concept at a layer.
    ///
    /// # Shapes
    /// `[d_model]`
    pub fn concept(&self, layer: Layer, concept: ConceptId) -> &DVector<f64> {
        &self.by_layer[layer.0][concept.0]
    }

    /// The mean over concepts at a layer; every concept counts alike.
    ///
    /// # Shapes
    /// `[d_model]`
    pub fn overall(&self, layer: Layer) -> DVector<f64> {
        let means = &self.by_layer[layer.0];
        means.iter().sum::<DVector<f64>>() / means.len() as f64
    }
}

impl Intervention {
    /// What becomes of the state `h` of prompt number `index`, whose concept is `source`.
    fn apply(self, h: &[f32], means: &Means, layer: Layer, source: ConceptId, index: u64) -> Vec<f32> {
        let vector = |activation: Activation, origin: &DVector<f64>| match activation {
            Activation::Concept(concept) => means.concept(layer, concept) - origin,
            Activation::Overall => means.overall(layer) - origin,
            Activation::Random(stream) => {
                direction(stream, index, h.len()) * (means.concept(layer, source) - origin).norm()
            }
        };
        let narrow = |vector: DVector<f64>| vector.iter().map(|&value| value as f32).collect();
        match self {
            Self::Nothing => h.to_vec(),
            Self::Replace(activation) => narrow(vector(activation, &DVector::zeros(h.len()))),
            Self::Add(activation, strength) => {
                let h = DVector::from_iterator(h.len(), h.iter().map(|&value| f64::from(value)));
                narrow(h + vector(activation, &means.overall(layer)) * strength)
            }
        }
    }
}

/// A direction of length 1, all directions being equally likely.
pub(crate) fn direction(stream: Stream, index: u64, d_model: usize) -> DVector<f64> {
    let mut rng = stream.rng(index);
    DVector::from_fn(d_model, |_, _| StandardNormal.sample(&mut rng)).normalize()
}

/// Predictions of the last y of every prompt, after each intervention at its layer, at `token`.
///
/// To read the prediction of an earlier y, cut the prompts ([`Prompt::first`]): the model is causal.
///
/// # Panics
/// When there is no prompt, the token is outside the prompts, a layer is behind the last, or `means` are of another
/// model.
pub fn intervene<B: Kernels>(
    model: &Transformer<B>,
    prompts: &[Prompt],
    token: Token,
    means: &Means,
    interventions: &[(Layer, Intervention)],
    device: &B::Device,
) -> Intervened {
    let of_chunk = |(number, chunk): (usize, &[Prompt])| {
        let batch = Batch::new(chunk.iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..])), device);
        let stream = model.residual_stream(batch.xs, batch.ys);
        let changed = |&(layer, intervention): &(Layer, Intervention)| {
            let h = &stream.layers[layer.0];
            let [batch, _, d_model] = h.dims();
            let states = to_vec(h.clone().narrow(1, token.index(), 1));
            let prompts = chunk.iter().zip((number * CHUNK) as u64..);
            let states = states
                .chunks_exact(d_model)
                .zip(prompts)
                .flat_map(|(state, (prompt, index))| intervention.apply(state, means, layer, prompt.concept, index));
            let states = TensorData::new(states.collect(), [batch, d_model]);
            last(predict_patched(model, &stream, layer, token, Tensor::from_data(states, device)))
        };
        Intervened { plain: last(stream.predictions.clone()), changed: interventions.iter().map(changed).collect() }
    };
    let chunks: Vec<Intervened> = prompts.par_chunks(CHUNK).enumerate().map(of_chunk).collect();
    let join = |part: &dyn Fn(&Intervened) -> &Vec<f64>| chunks.iter().flat_map(part).copied().collect();
    Intervened {
        plain: join(&|chunk| &chunk.plain),
        changed: (0..interventions.len()).map(|index| join(&|chunk| &chunk.changed[index])).collect(),
    }
}

/// The forward pass from the residual stream at `layer` on, with `states` in the place of those at `token`. With layer 0
/// it is the embedding that is changed, wherever it is read.
///
/// # Shapes
/// states `[batch, d_model]` to `[batch, n_points]`
///
/// # Panics
/// When the layer is behind the last or the token outside the prompt.
pub fn predict_patched<B: Kernels>(
    model: &Transformer<B>,
    stream: &ResidualStream<B>,
    layer: Layer,
    token: Token,
    states: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let h = stream.layers[layer.0].clone();
    let ([batch, _, d_model], at) = (h.dims(), token.index());
    let h = h.slice_assign([0..batch, at..at + 1, 0..d_model], states.unsqueeze_dim(1));
    let embedded = if layer == Layer(0) { h.clone() } else { stream.layers[0].clone() };
    let behind = layer.0 + 1..=model.last_layer().0;
    model.read_out(behind.fold(h, |h, layer| model.block(Layer(layer), &embedded, h)))
}

/// The last column.
fn last<B: Kernels>(predictions: Tensor<B, 2>) -> Vec<f64> {
    let [_, n_points] = predictions.dims();
    to_vec(predictions.narrow(1, n_points - 1, 1)).into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;
    use data::{Purpose, Sampler};
    use run::{Config, Experiment, Source};

    use super::*;

    type Model = Transformer<NdArray>;

    /// An untrained model with two layers, and one prompt of each of its two concepts.
    fn model() -> (Model, Vec<Prompt>) {
        let config = Config::resolve(&Source::named("smoke"), &[]).unwrap();
        let Experiment { config, task, architecture, .. } = config.build(&data::TaskRegistry::builtin()).unwrap();
        let weights = config.model.init(&architecture, &mut Stream::new(0, Purpose::Init).rng(0));
        let model = Model::new(&architecture, &weights, &Default::default()).unwrap();
        (model, Sampler::new(task, Stream::new(0, Purpose::Eval)).balanced(0, 1))
    }

    /// Predictions under one intervention, with means over the prompts themselves.
    fn changed(model: &Model, prompts: &[Prompt], at: Token, layer: usize, what: Intervention) -> Vec<f64> {
        let device = Default::default();
        let means = Means::of(model, prompts, at, &device);
        intervene(model, prompts, at, &means, &[(Layer(layer), what)], &device).changed.remove(0)
    }

    fn plain(model: &Model, prompts: &[Prompt]) -> Vec<f64> {
        let means = Means { by_layer: Vec::new() };
        intervene(model, prompts, Token::X(1), &means, &[], &Default::default()).plain
    }

    #[test]
    fn what_leaves_the_state_as_it_is_changes_no_bit() {
        let (model, prompts) = model();
        let expected = plain(&model, &prompts);
        for (layer, token) in (0..=2).flat_map(|layer| [Token::X(6), Token::Y(3)].map(|token| (layer, token))) {
            for activation in [Activation::Concept(ConceptId(1)), Activation::Overall] {
                let still = Intervention::Add(activation, 0.0);
                assert_eq!(changed(&model, &prompts, token, layer, still), expected, "{layer}, {token}");
            }
            assert_eq!(changed(&model, &prompts, token, layer, Intervention::Nothing), expected, "{layer}, {token}");
        }
    }

    /// The mean over one prompt is that prompt's state.
    #[test]
    fn a_prompt_with_the_mean_of_another_predicts_as_far_as_its_states_say() {
        let (model, prompts) = model();
        let expected = plain(&model, &prompts);
        for layer in 0..=2 {
            let second = Intervention::Replace(Activation::Concept(ConceptId(1)));
            let found = changed(&model, &prompts, Token::X(6), layer, second);
            assert_eq!(found[1], expected[1], "the own state at layer {layer}");
            // Behind the last block nothing but the state itself is left to read.
            assert_eq!(found[0] == expected[1], layer == 2, "the other's state at layer {layer}");
        }
    }

    #[test]
    fn a_change_behind_the_prediction_does_not_reach_it() {
        let (model, prompts) = model();
        let what = Intervention::Replace(Activation::Overall);
        assert_eq!(changed(&model, &prompts, Token::Y(6), 0, what), plain(&model, &prompts));
        assert_ne!(changed(&model, &prompts, Token::Y(5), 0, what), plain(&model, &prompts));
    }

    #[test]
    fn states_of_a_case_small_enough_for_the_head() {
        let means =
            Means { by_layer: vec![vec![DVector::from_vec(vec![3.0, 4.0]), DVector::from_vec(vec![1.0, 0.0])]] };
        let apply = |what: Intervention| what.apply(&[10.0, 20.0], &means, Layer(0), ConceptId(0), 7);
        assert_eq!(apply(Intervention::Replace(Activation::Concept(ConceptId(1)))), [1.0, 0.0]);
        assert_eq!(apply(Intervention::Replace(Activation::Overall)), [2.0, 2.0]);
        assert_eq!(apply(Intervention::Add(Activation::Concept(ConceptId(0)), 2.0)), [12.0, 24.0]);
        assert_eq!(apply(Intervention::Add(Activation::Concept(ConceptId(1)), -1.0)), [11.0, 22.0]);
    }

    /// The f32 of a state have a precision of 6e-8.
    const LENGTH_TOLERANCE: f64 = 1e-6;

    #[test]
    fn a_random_direction_has_the_length_of_what_the_own_mean_brings_in() {
        let means =
            Means { by_layer: vec![vec![DVector::from_vec(vec![3.0, 4.0]), DVector::from_vec(vec![3.0, 0.0])]] };
        let random = Activation::Random(Stream::new(0, Purpose::Direction));
        let length = |what: Intervention, index| {
            let state = what.apply(&[0.0, 0.0], &means, Layer(0), ConceptId(0), index);
            state.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
        };
        assert!((length(Intervention::Replace(random), 0) - 5.0).abs() < LENGTH_TOLERANCE);
        // The mean over concepts is (3, 2).
        assert!((length(Intervention::Add(random, 3.0), 0) - 3.0 * 2.0).abs() < LENGTH_TOLERANCE);
        let stream = Stream::new(0, Purpose::Direction);
        assert_ne!(direction(stream, 0, 2), direction(stream, 1, 2));
    }
}
