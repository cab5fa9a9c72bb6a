use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bool, Int, Tensor};
use model::{Architecture, FusedBackend, ModelError, Transformer, gradients_from_weights, gradients_to_weights};
use run::{Moments, TrainConfig};

/// Adam with bias correction, m̂ / (√v̂ + ε), its constants in f64 and its state by parameter name.
///
/// # Source
/// Kingma and Ba (2015), arXiv 1412.6980; the order of operations is PyTorch's.
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
    pub fn restore<B: FusedBackend>(
        config: &TrainConfig,
        moments: &Moments,
        model: &Transformer<B>,
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
    pub fn moments<B: FusedBackend>(&self, model: &Transformer<B>) -> Moments {
        let named = |moment| {
            let mut weights = model.weights();
            weights.values_mut().for_each(|tensor| tensor.values.fill(0.0));
            weights.extend(gradients_to_weights(model, moment));
            weights
        };
        Moments { first: named(&self.first), second: named(&self.second) }
    }

    /// Moves every parameter by `learning_rate` against its gradient; `step` counts the steps before this one.
    pub fn step<B: AutodiffBackend>(
        &mut self,
        model: Transformer<B>,
        gradients: GradientsParams,
        learning_rate: f64,
        step: usize,
    ) -> Transformer<B> {
        let t = (step + 1) as f64;
        let (correction_1, correction_2) = (1.0 - self.beta_1.powf(t), 1.0 - self.beta_2.powf(t));
        let (rate, root) = (learning_rate / correction_1, correction_2.sqrt());
        model.map(&mut Update { adam: self, gradients, rate, root })
    }
}

struct Update<'a> {
    adam: &'a mut Adam,
    gradients: GradientsParams,
    /// Learning rate over the first moment's bias correction.
    rate: f64,
    /// Root of the second moment's bias correction.
    root: f64,
}

impl Update<'_> {
    fn delta<B: Backend, const D: usize>(&mut self, id: ParamId, gradient: Tensor<B, D>) -> Tensor<B, D> {
        let Adam { beta_1, beta_2, epsilon, ref mut first, ref mut second } = *self.adam;
        let decay = |moment: Option<Tensor<B, D>>, beta: f64, value: Tensor<B, D>| match moment {
            Some(moment) => moment * beta + value * (1.0 - beta),
            None => value * (1.0 - beta),
        };
        let mean = decay(first.remove(id), beta_1, gradient.clone());
        let square = decay(second.remove(id), beta_2, gradient.clone() * gradient);
        first.register(id, mean.clone());
        second.register(id, square.clone());
        mean * self.rate / (square.sqrt() / self.root + epsilon)
    }
}

impl<B: AutodiffBackend> ModuleMapper<B> for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) else {
            return param;
        };
        let (id, value, mapper) = param.consume();
        let moved = value.inner() - self.delta(id, gradient);
        Param::from_mapped_value(id, Tensor::from_inner(moved).require_grad(), mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        param
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        param
    }
}
