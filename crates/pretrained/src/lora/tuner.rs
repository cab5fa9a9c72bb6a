//! One step of tuning after the other.

use burn::tensor::{Tensor, TensorData};
use kernels::{AdamStep, Kernels, Updates};

use super::adapter::{AdapterPlace, Adapters, Factors};
use super::checkpoint::TuningState;
use super::resident::{Asked, Example, Gradients, Resident};
use super::tuning::Pair;

/// Adam's constants: PyTorch's defaults.
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// A model with adapters that are being tuned.
pub(crate) struct Tuner<'a, B: Kernels> {
    model: Resident<'a, B>,
    start: Adapters,
    places: Vec<AdapterPlace>,
    pairs: Vec<Pair<B>>,
    first: Vec<Pair<B>>,
    second: Vec<Pair<B>>,
    learning_rate: f64,
    seed: u64,
    step: usize,
}

impl<'a, B: Kernels> Tuner<'a, B> {
    /// Goes on from `state`.
    pub(crate) fn new(
        model: Resident<'a, B>,
        state: TuningState,
        learning_rate: f64,
        seed: u64,
        device: &B::Device,
    ) -> Self {
        let TuningState { adapters, first, second, step } = state;
        let (rank, d_head) = (adapters.config.rank, model.config.d_head);
        let upload = |adapters: &Adapters| {
            adapters.factors.iter().map(|factors| factors.upload(rank, d_head, device)).collect::<Vec<Pair<B>>>()
        };
        let places = adapters.factors.iter().map(|factors| factors.place.clone()).collect();
        let [pairs, first, second] = [&adapters, &first, &second].map(upload);
        Self { model, places, pairs, first, second, learning_rate, seed, step, start: adapters }
    }

    /// Steps taken.
    pub(crate) fn steps(&self) -> usize {
        self.step
    }

    /// All that a tuner that goes on must know.
    pub(crate) fn state(&self) -> TuningState {
        let d_head = self.model.config.d_head;
        let download = |pairs: &[Pair<B>]| {
            let factors = self.places.iter().zip(pairs).map(|(place, pair)| Factors::download(place, pair, d_head));
            Adapters { factors: factors.collect(), config: self.start.config.clone(), base: self.start.base.clone() }
        };
        TuningState {
            adapters: download(&self.pairs),
            first: download(&self.first),
            second: download(&self.second),
            step: self.step,
        }
    }

    /// Loss and gradients of some examples, `first` being the number of the first one.
    pub(crate) fn gradients(&self, first: u64, examples: &[Example]) -> Gradients<B> {
        let Self { places, pairs, seed, start, .. } = self;
        self.model.gradients(first, examples, &Asked { config: &start.config, places, pairs, seed: *seed })
    }

    /// Moves every factor against its gradient; the loss from before comes back.
    pub(crate) fn step(&mut self, first: u64, examples: &[Example]) -> f64 {
        let Gradients { loss, pairs } = self.gradients(first, examples);
        let step = AdamStep::after(self.step, [BETA_1, BETA_2], EPSILON, self.learning_rate);
        let mut updates = Updates::new(step, None);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((pair, (first, second)), gradients) in self.pairs.iter_mut().zip(moments).zip(pairs) {
            for (at, gradient) in gradients.into_iter().enumerate() {
                let state = [&mut pair[at], &mut first[at], &mut second[at]].map(take);
                [pair[at], first[at], second[at]] = B::adam(&mut updates, state, gradient);
            }
        }
        B::finish(updates);
        self.step += 1;
        loss
    }
}

/// The tensor, so that nobody else holds it; an empty one takes its place.
fn take<B: Kernels>(tensor: &mut Tensor<B, 2>) -> Tensor<B, 2> {
    let empty = Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0, 0]), &tensor.device());
    std::mem::replace(tensor, empty)
}
