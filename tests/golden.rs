//! A model of either kind, its gradients and ten steps of Adam, or of Muon, equal PyTorch's, on every CPU backend.
//!
//! `golden/make.py` is both models written a second time, in PyTorch and f64; `golden/golden.safetensors`, of the
//! transformer, `golden/muon.safetensors`, of the same trained by Muon, and `golden/lstm.safetensors` are what came out, and the
//! script's docstring lists what is in them. Every comparison is of a whole tensor, and its error is relative to the tensor's
//! largest absolute value: [`relative_error`].

use std::collections::BTreeSet;

use data::{ConceptId, Prompt};
use model::{Architecture, Batch, Free, HostTensor, Kernels, Kind, Model, Weights, gradients_to_weights};
use run::{Config, MuonConfig, Source, TrainConfig};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use trainer::{Optimizer, gradients};

use crate::numbers::{assert_close, host, largest, relative_error};

const TRANSFORMER: Architecture =
    Architecture { kind: Kind::Transformer, d_x: 3, n_points: 4, d_model: 8, n_layers: 2, n_heads: 2, latent: None };
const LSTM: Architecture = Architecture { kind: Kind::Lstm, n_heads: 0, ..TRANSFORMER };
const STEPS: usize = 10;

/// An f32 has a precision of 6e-8, and a state passes through some tens of roundings; measured: up to 2.6e-7.
const FORWARD_TOLERANCE: f64 = 8e-7;
/// The backward pass is as deep again, and sums over batch and tokens; measured: up to 6.9e-7.
const GRADIENT_TOLERANCE: f64 = 2e-6;
/// A loss is a mean of many errors that partly cancel, also after ten steps; measured: up to 2.2e-7.
const LOSSES_TOLERANCE: f64 = 7e-7;
/// Adam scales each gradient to the same size, and its relative error with it: a small gradient's error is a large one
/// of its update. Ten updates move a weight by about 0.1; measured: up to 5.1e-7.
const TRAINED_TOLERANCE: f64 = 1.5e-6;

/// Makes tests of the checks, each on one backend.
macro_rules! on {
    ($module:ident, $backend:ty) => {
        mod $module {
            #[test]
            fn hidden_states_and_predictions_are_pytorchs() {
                super::both().iter().for_each(super::check_states::<$backend>);
            }

            #[test]
            fn loss_and_every_gradient_are_pytorchs() {
                super::both().iter().for_each(super::check_gradients::<$backend>);
            }

            #[test]
            fn ten_steps_of_adam_are_pytorchs() {
                super::both().iter().for_each(super::check_training::<$backend>);
            }

            #[test]
            fn ten_steps_of_muon_are_pytorchs() {
                super::check_training::<$backend>(&super::by_muon());
            }
        }
    };
}

on!(flex, burn_flex::Flex);
on!(ndarray, burn::backend::NdArray);

fn check_states<B: Kernels>(golden: &Golden) {
    let device = B::Device::default();
    let batch = Batch::<B>::new(golden.prompts().iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..])), &device);
    let stream = golden.model::<B>(&device).residual_stream(batch.xs, batch.ys);
    assert_eq!(stream.layers.len(), golden.architecture.n_layers + 1);
    for (layer, states) in stream.layers.into_iter().enumerate() {
        golden.assert_close(&format!("hidden.{layer}"), &host(states), FORWARD_TOLERANCE);
    }
    golden.assert_close("predictions", &host(stream.predictions), FORWARD_TOLERANCE);
}

fn check_gradients<B: Kernels>(golden: &Golden) {
    let device = B::Device::default();
    let model = golden.model::<B>(&device);
    for shards in [1, 3] {
        let found = gradients(&model, Free::All, &golden.prompts(), shards, &device);
        golden.assert_close("loss", &host(found.loss), FORWARD_TOLERANCE);
        let found = gradients_to_weights(&model, &found.parameters);
        golden.assert_all_close("gradients", &found, GRADIENT_TOLERANCE);
    }
}

fn check_training<B: Kernels>(golden: &Golden) {
    let device = B::Device::default();
    let (config, prompts) = (train_config(golden.muon), golden.prompts());
    for shards in [1, 3] {
        let mut model = golden.model::<B>(&device);
        let mut optimizer = Optimizer::new(&config, &model, &golden.architecture);
        let mut losses = Vec::new();
        for step in 0..STEPS {
            let found = gradients(&model, Free::All, &prompts, shards, &device);
            losses.extend(host(found.loss).values);
            model = optimizer.step(model, found.parameters, None, config.learning_rate, step);
        }
        golden.assert_close("losses", &HostTensor { shape: vec![STEPS], values: losses }, LOSSES_TOLERANCE);
        let found = without_key_bias(model.weights());
        let tensors = without_key_bias(golden.tensors.clone());
        Golden { tensors, ..*golden }.assert_all_close("trained", &found, TRAINED_TOLERANCE);
    }
}

/// A comparison says nothing about a parameter that does nothing, so every one must do something.
#[test]
fn every_parameter_of_the_golden_models_counts() {
    for golden in both() {
        let (trained, weights) = (golden.named("trained"), golden.named("weights"));
        for (name, gradient) in golden.named("gradients") {
            assert!(largest(&gradient) > golden.least_gradient, "the golden gradient of {name} is all but zero");
            assert!(relative_error(&trained[&name], &weights[&name]) > 1e-2, "{name} is not trained");
        }
    }
}

/// Without the key's part of the bias that query, key and value share. Its gradient is zero: it adds the same to all
/// scores of a query, and softmax takes that away again. What rounding leaves of it, Adam divides by its own size, so
/// that the trained key bias is noise in f32, in any program, and without effect on any state.
fn without_key_bias(mut weights: Weights) -> Weights {
    let d_model = TRANSFORMER.d_model;
    for (_, bias) in weights.iter_mut().filter(|(name, _)| name.ends_with("query_key_value.bias")) {
        bias.values.drain(d_model..2 * d_model);
        bias.shape = vec![2 * d_model];
    }
    weights
}

/// A golden file.
struct Golden {
    architecture: Architecture,
    /// The optimizer of the linear maps inside the blocks, where it is not Adam.
    muon: Option<MuonConfig>,
    /// What every parameter has an element above. The many gates between a parameter of an LSTM and the loss make its
    /// gradient small.
    least_gradient: f64,
    /// Every tensor, by name.
    tensors: Weights,
}

fn both() -> [Golden; 2] {
    [
        Golden::read(TRANSFORMER, 0.1, include_bytes!("golden/golden.safetensors")),
        Golden::read(LSTM, 0.01, include_bytes!("golden/lstm.safetensors")),
    ]
}

fn by_muon() -> Golden {
    let golden = Golden::read(TRANSFORMER, 0.1, include_bytes!("golden/muon.safetensors"));
    Golden { muon: Some(MuonConfig { momentum: 0.95 }), ..golden }
}

impl Golden {
    fn read(architecture: Architecture, least_gradient: f64, bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        let tensor = |(name, view): (&str, TensorView<'_>)| {
            assert_eq!(view.dtype(), Dtype::F32, "{name}");
            let values = view.data().chunks_exact(4).map(value).collect();
            (name.to_owned(), HostTensor { shape: view.shape().to_vec(), values })
        };
        Self { architecture, muon: None, least_gradient, tensors: file.iter().map(tensor).collect() }
    }

    /// The tensors called `prefix.NAME`, by NAME.
    fn named(&self, prefix: &str) -> Weights {
        let name = |name: &String| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned());
        self.tensors.iter().filter_map(|(full, tensor)| Some((name(full)?, tensor.clone()))).collect()
    }

    fn model<B: Kernels>(&self, device: &B::Device) -> Model<B> {
        Model::new(&self.architecture, &self.named("weights"), device).unwrap()
    }

    fn prompts(&self) -> Vec<Prompt> {
        let Architecture { d_x, n_points, .. } = self.architecture;
        let xs = self.tensors["xs"].values.chunks_exact(n_points * d_x);
        let ys = self.tensors["ys"].values.chunks_exact(n_points);
        let prompt = |(xs, ys): (&[f32], &[f32])| Prompt { concept: ConceptId(0), xs: xs.to_vec(), ys: ys.to_vec() };
        xs.zip(ys).map(prompt).collect()
    }

    fn assert_close(&self, name: &str, found: &HostTensor, tolerance: f64) {
        assert_close(name, found, &self.tensors[name], tolerance);
    }

    /// Also asserts that `found` has the golden names, no fewer and no more.
    fn assert_all_close(&self, prefix: &str, found: &Weights, tolerance: f64) {
        let names = |weights: &Weights| weights.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(found), names(&self.named(prefix)));
        for (name, tensor) in found {
            self.assert_close(&format!("{prefix}.{name}"), tensor, tolerance);
        }
    }
}

/// What `make.py` gives the optimizer.
fn train_config(muon: Option<MuonConfig>) -> TrainConfig {
    let set = ["learning_rate=1e-2", "beta_1=0.9", "beta_2=0.9999", "epsilon=1e-8"];
    let set = set.map(|assignment| format!("train.{assignment}"));
    let train = Config::resolve(&Source::named("base"), &set).unwrap().train;
    TrainConfig { muon, ..train }
}
