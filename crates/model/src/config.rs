//! What a user chooses of a model.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use serde::{Deserialize, Serialize};

use crate::parameters::{Role, Spec};
use crate::weights::{HostTensor, Weights};
use crate::{Free, Kind, Latent, ModelError};

/// The `[model]` section of a configuration.
///
/// | field | unit | range |
/// |---|---|---|
/// | `kind` | what a block is | a [`Kind`] |
/// | `d_model` | width of the residual stream | 1 … 8192, in a transformer a multiple of `n_heads` |
/// | `n_layers` | blocks | 1 … 128 |
/// | `n_heads` | attention heads a block | ≥ 1; 0 where there is no attention |
/// | `init` | | `gpt2` or `fan_in` |
/// | `read_in_gain` | factor on the spread of the read-in's weights | 10⁻¹⁵ … 10¹⁵ |
/// | `position_std` | spread of the position table | 0 … 10¹⁵; 0 where there is none |
/// | `latent` | a vector that all knowledge of the pairs passes through | absent, or a [`Latent`] of a transformer |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// What a block is.
    #[serde(default = "Kind::unsaid", skip_serializing_if = "Kind::is_unsaid")]
    pub kind: Kind,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Attention heads a block, 0 without attention.
    pub n_heads: usize,
    /// How the linear maps are drawn.
    pub init: Init,
    /// Factor on the spread of the read-in's weights at the start. Below 1, what blocks write outweighs the copy of the
    /// token in the residual stream.
    pub read_in_gain: f64,
    /// Standard deviation of the learned position table at the start.
    pub position_std: f64,
    /// The explicit variant: what the decoder is told of the pairs. Absent in plain models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latent: Option<Latent>,
}

/// How the linear maps are drawn. Maps that write to the residual stream are scaled by 1/√(2·`n_layers`) in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Normal with standard deviation 0.02, biases zero; read-in and read-out uniform in ±1/√fan-in, biases too. The
    /// read-in's weight is multiplied by `read_in_gain`, with either initialisation.
    ///
    /// # Source
    /// GPT-2 for the blocks; PyTorch's `Linear`, as in Garg et al. (2022), for read-in and read-out.
    Gpt2,
    /// Normal with standard deviation 1/√fan-in, biases zero: the same spread of activations at every width.
    FanIn,
}

/// Everything that determines the shapes of a model's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// What a block is.
    #[serde(default = "Kind::unsaid", skip_serializing_if = "Kind::is_unsaid")]
    pub kind: Kind,
    /// Width of x, D.
    pub d_x: usize,
    /// Pairs in a prompt, K; the sequence has 2K tokens.
    pub n_points: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Attention heads a block, 0 without attention.
    pub n_heads: usize,
    /// The vector between encoder and decoder, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent: Option<Latent>,
}

impl ModelConfig {
    /// Checks the fields against their ranges and adds the size of the prompts.
    ///
    /// # Errors
    /// When a field is outside its range.
    pub fn architecture(&self, d_x: usize, n_points: usize) -> Result<Architecture, ModelError> {
        let Self { kind, d_model, n_layers, n_heads, read_in_gain, position_std, latent, .. } = *self;
        // Beyond these f32 does not have the squares, of which a norm takes the mean.
        if !(1e-15..=1e15).contains(&read_in_gain) {
            let range = "a finite number above 0 (1e-15 to 1e15)";
            return Err(out_of_range("model.read_in_gain", range, format!("{read_in_gain:?}")));
        }
        if !(0.0..=1e15).contains(&position_std) {
            let range = "a finite number of at least 0 and at most 1e15";
            return Err(out_of_range("model.position_std", range, format!("{position_std:?}")));
        }
        let architecture = Architecture { kind, d_x, n_points, d_model, n_layers, n_heads, latent };
        architecture.check()?;
        let has_positions = architecture.specs().iter().any(|spec| matches!(spec.role, Role::Position));
        if !has_positions && position_std != 0.0 {
            let range = format!("0 where model.kind is {kind}, which has no position table");
            return Err(out_of_range("model.position_std", range, format!("{position_std:?}")));
        }
        Ok(architecture)
    }

    /// Draws the weights of a new model on the host, all of them from `rng`.
    pub fn init(&self, architecture: &Architecture, rng: &mut impl Rng) -> Weights {
        let draw = |spec: &Spec| self.init_parameter(architecture, spec, &mut *rng);
        architecture.specs().iter().map(draw).collect()
    }

    fn init_parameter(&self, to: &Architecture, spec: &Spec, rng: &mut impl Rng) -> (String, HostTensor) {
        let residual = 1.0 / (2.0 * to.n_layers as f64).sqrt();
        let len = spec.shape.iter().product();
        let values = match (spec.role, self.init) {
            (Role::NormScale | Role::OpenGate, _) => vec![1.0; len],
            (Role::NormShift, _) => vec![0.0; len],
            (Role::Position, _) => normal(len, self.position_std, rng),
            (Role::Boundary { fan_in, .. }, Init::Gpt2) => uniform(len, 1.0 / (fan_in as f64).sqrt(), rng),
            (Role::ReadIn { fan_in }, Init::Gpt2) => uniform(len, self.read_in_gain / (fan_in as f64).sqrt(), rng),
            (Role::ReadIn { fan_in }, Init::FanIn) => normal(len, self.read_in_gain / (fan_in as f64).sqrt(), rng),
            (Role::Boundary { bias: true, .. } | Role::Bias, _) => vec![0.0; len],
            (Role::Boundary { fan_in, .. } | Role::Linear { fan_in }, Init::FanIn) => {
                normal(len, 1.0 / (fan_in as f64).sqrt(), rng)
            }
            (Role::Residual { fan_in }, Init::FanIn) => normal(len, residual / (fan_in as f64).sqrt(), rng),
            (Role::Linear { .. }, Init::Gpt2) => normal(len, 0.02, rng),
            (Role::Residual { .. }, Init::Gpt2) => normal(len, 0.02 * residual, rng),
        };
        (spec.name.clone(), HostTensor { shape: spec.shape.clone(), values })
    }
}

impl Architecture {
    /// Tokens in a prompt: an x and a y for every pair.
    pub fn seq_len(&self) -> usize {
        2 * self.n_points
    }

    /// Blocks before the latent; all of them without one.
    pub fn encoder_layers(&self) -> usize {
        self.n_layers - self.latent.map_or(0, |latent| latent.decoder_layers)
    }

    /// Multiplications and additions of the matrix products in one training step over `batch_size` prompts, counting
    /// only what reaches the loss.
    ///
    /// The backward pass has two products for each one of the forward pass.
    pub fn step_flops(&self, batch_size: usize) -> u64 {
        3 * batch_size as u64 * (self.kind.plan().forward_flops)(self)
    }

    /// How many parameters there are.
    pub fn parameters(&self) -> usize {
        self.free_parameters(Free::All)
    }

    /// How many parameters training may change.
    pub fn free_parameters(&self, free: Free) -> usize {
        let is_free = |spec: &&Spec| free.has(&spec.name, self.n_layers);
        self.specs().iter().filter(is_free).map(|spec| spec.shape.iter().product::<usize>()).sum()
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        between("task.d_x", self.d_x, 4096)?;
        between("task.n_points", self.n_points, 4096)?;
        between("model.d_model", self.d_model, 8192)?;
        between("model.n_layers", self.n_layers, 128)?;
        (self.kind.plan().check)(self)
    }

    /// Every parameter, in the order in which they are drawn.
    pub(crate) fn specs(&self) -> Vec<Spec> {
        (self.kind.plan().specs)(self)
    }
}

/// Nothing, if `value` is between 1 and `most`.
pub(crate) fn between(field: &'static str, value: usize, most: usize) -> Result<(), ModelError> {
    match value {
        1.. if value <= most => Ok(()),
        _ => Err(out_of_range(field, format!("between 1 and {most}"), value)),
    }
}

pub(crate) fn out_of_range(field: &'static str, range: impl Into<String>, value: impl ToString) -> ModelError {
    ModelError::OutOfRange { field, range: range.into(), value: value.to_string() }
}

fn normal(len: usize, std: f64, rng: &mut impl Rng) -> Vec<f32> {
    (0..len)
        .map(|_| {
            let value: f64 = StandardNormal.sample(rng);
            (std * value) as f32
        })
        .collect()
}

fn uniform(len: usize, bound: f64, rng: &mut impl Rng) -> Vec<f32> {
    let unit = Uniform::new(-1.0, 1.0).expect("the interval is not empty");
    (0..len).map(|_| (bound * unit.sample(rng)) as f32).collect()
}
