//! What moves the parameters.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};
use model::{
    AdamStep, Architecture, Kernels, Model, ModelError, Updates, gradients_from_weights, gradients_to_weights,
};
use run::{Moments, TrainConfig};

use crate::muon::Muon;

/// Adam with bias correction, m̂ / (√v̂ + ε), its state by parameter; the arithmetic is [`Kernels::adam`]. Where the
/// configuration has `train.muon`, the linear maps inside the blocks are moved by Muon instead.
#[derive(Debug)]
pub struct Optimizer {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    first: GradientsParams,
    second: GradientsParams,
    muon: Option<Muon>,
}

impl Optimizer {
    /// With the configured constants and no history.
    pub fn new<B: Kernels>(config: &TrainConfig, model: &Model<B>, architecture: &Architecture) -> Self {
        let TrainConfig { beta_1, beta_2, epsilon, muon, .. } = *config;
        let muon = muon.map(|muon| Muon::new(muon.momentum, model.hidden_weights(architecture)));
        Self { beta_1, beta_2, epsilon, first: GradientsParams::new(), second: GradientsParams::new(), muon }
    }

    /// With the history of a checkpoint.
    ///
    /// # Errors
    /// When the moments are not those of a model of this architecture.
    pub fn restore<B: Kernels>(
        config: &TrainConfig,
        moments: &Moments,
        model: &Model<B>,
        architecture: &Architecture,
        device: &B::Device,
    ) -> Result<Self, ModelError> {
        let mut optimizer = Self {
            first: gradients_from_weights(model, architecture, &moments.first, device)?,
            second: gradients_from_weights(model, architecture, &moments.second, device)?,
            ..Self::new(config, model, architecture)
        };
        if let Some(muon) = &mut optimizer.muon {
            muon.restore::<B>(&mut optimizer.first);
        }
        Ok(optimizer)
    }

    /// The history, copied to the host; zeros where there is none.
    pub fn moments<B: Kernels>(&self, model: &Model<B>) -> Moments {
        let named = |moments: &GradientsParams| {
            let mut weights = model.weights();
            weights.values_mut().for_each(|tensor| tensor.values.fill(0.0));
            weights.extend(gradients_to_weights(model, moments));
            weights
        };
        let [mut first, second] = [&self.first, &self.second].map(named);
        first.extend(self.muon.iter().flat_map(|muon| gradients_to_weights(model, muon.means())));
        Moments { first, second }
    }

    /// Moves every parameter that has a gradient by `learning_rate` against it, which is first multiplied by `factor`, `[1]`.
    /// `step` counts the steps before this one.
    pub fn step<B: Kernels>(
        &mut self,
        model: Model<B>,
        mut gradients: GradientsParams,
        factor: Option<Tensor<B, 1>>,
        learning_rate: f64,
        step: usize,
    ) -> Model<B> {
        let Self { beta_1, beta_2, epsilon, .. } = *self;
        let step = AdamStep::after(step, [beta_1, beta_2], epsilon, learning_rate);
        let moves = self.muon.as_mut().map(|muon| muon.moves(&mut gradients, factor.as_ref())).unwrap_or_default();
        let updates = Updates::new(step, factor);
        let mut update = Update { optimizer: self, gradients, updates, moves, learning_rate };
        let model = model.map(&mut update);
        B::finish(update.updates);
        model
    }
}

/// Moves every parameter that has a gradient, or a move.
struct Update<'a, B: Backend> {
    optimizer: &'a mut Optimizer,
    gradients: GradientsParams,
    updates: Updates<B>,
    /// Muon's, for a learning rate of 1.
    moves: GradientsParams,
    learning_rate: f64,
}

impl<B: Kernels> ModuleMapper<B> for Update<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if let Some(by) = self.moves.remove::<B, D>(param.id) {
            let (id, value, mapper) = param.consume();
            return Param::from_mapped_value(id, value - by * self.learning_rate, mapper);
        }
        let Some(gradient) = self.gradients.remove::<B, D>(param.id) else {
            return param;
        };
        let Optimizer { first, second, .. } = &mut *self.optimizer;
        let [mean, square] = [&mut *first, &mut *second]
            .map(|moment| moment.remove::<B, D>(param.id).unwrap_or_else(|| gradient.zeros_like()));
        let (id, value, mapper) = param.consume();
        let [value, mean, square] = B::adam(&mut self.updates, [value, mean, square], gradient);
        first.register(id, mean);
        second.register(id, square);
        Param::from_mapped_value(id, value, mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        param
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        param
    }
}
