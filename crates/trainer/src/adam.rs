//! The optimizer.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};
use model::{
    AdamStep, Architecture, Kernels, Model, ModelError, Updates, gradients_from_weights, gradients_to_weights,
};
use run::{Moments, TrainConfig};

/// Adam with bias correction, m̂ / (√v̂ + ε), its state by parameter; the arithmetic is [`Kernels::adam`].
#[derive(Debug)]
pub struct Adam {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    first: GradientsParams,
    second: GradientsParams,
}

impl Adam {
    /// With the configured constants and no history.
    pub fn new(config: &TrainConfig) -> Self {
        let TrainConfig { beta_1, beta_2, epsilon, .. } = *config;
        Self { beta_1, beta_2, epsilon, first: GradientsParams::new(), second: GradientsParams::new() }
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
        Ok(Self {
            first: gradients_from_weights(model, architecture, &moments.first, device)?,
            second: gradients_from_weights(model, architecture, &moments.second, device)?,
            ..Self::new(config)
        })
    }

    /// The history, copied to the host; zeros before the first step.
    pub fn moments<B: Kernels>(&self, model: &Model<B>) -> Moments {
        let named = |moment| {
            let mut weights = model.weights();
            weights.values_mut().for_each(|tensor| tensor.values.fill(0.0));
            weights.extend(gradients_to_weights(model, moment));
            weights
        };
        Moments { first: named(&self.first), second: named(&self.second) }
    }

    /// Moves every parameter by `learning_rate` against its gradient, which is first multiplied by `factor`, `[1]`.
    /// `step` counts the steps before this one.
    pub fn step<B: Kernels>(
        &mut self,
        model: Model<B>,
        gradients: GradientsParams,
        factor: Option<Tensor<B, 1>>,
        learning_rate: f64,
        step: usize,
    ) -> Model<B> {
        let Self { beta_1, beta_2, epsilon, .. } = *self;
        let t = (step + 1) as f64;
        let (rate, root) = (learning_rate / (1.0 - beta_1.powf(t)), (1.0 - beta_2.powf(t)).sqrt().recip());
        let step = AdamStep { beta_1, beta_2, epsilon, rate, root };
        let mut update = Update { adam: self, gradients, updates: Updates::new(step, factor) };
        let model = model.map(&mut update);
        B::finish(update.updates);
        model
    }
}

/// Moves every parameter that has a gradient.
struct Update<'a, B: Backend> {
    adam: &'a mut Adam,
    gradients: GradientsParams,
    updates: Updates<B>,
}

impl<B: Kernels> ModuleMapper<B> for Update<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(gradient) = self.gradients.remove::<B, D>(param.id) else {
            return param;
        };
        let Adam { first, second, .. } = &mut *self.adam;
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
