//! The one list of a model's parameters, and their way between a device and the host.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::{LayerNorm, Linear};
use burn::optim::GradientsParams;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::{Architecture, HostTensor, Latent, ModelError, Transformer, Weights};

/// What a parameter is for, which decides how it is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Linear {
        fan_in: usize,
    },
    /// A linear map that writes to the residual stream.
    Residual {
        fan_in: usize,
    },
    ReadIn {
        fan_in: usize,
    },
    /// The bias of the read-in, and the read-out.
    Boundary {
        fan_in: usize,
        bias: bool,
    },
    Bias,
    NormScale,
    NormShift,
    Position,
}

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
}

/// Every parameter of the architecture, in the order in which they are drawn.
pub(crate) fn specs(architecture: &Architecture) -> Vec<Spec> {
    let Architecture { d_x, d_model: d, .. } = *architecture;
    let spec = |name: String, shape: &[usize], role| Spec { name, shape: shape.to_vec(), role };
    let mut specs = vec![
        spec("read_in.weight".into(), &[d_x, d], Role::ReadIn { fan_in: d_x }),
        spec("read_in.bias".into(), &[d], Role::Boundary { fan_in: d_x, bias: true }),
        spec("positions".into(), &[architecture.seq_len(), d], Role::Position),
    ];
    for layer in 0..architecture.n_layers {
        let name = |field: &str| format!("blocks.{layer}.{field}");
        specs.extend([
            spec(name("attention_norm.gamma"), &[d], Role::NormScale),
            spec(name("attention_norm.beta"), &[d], Role::NormShift),
            spec(name("query_key_value.weight"), &[d, 3 * d], Role::Linear { fan_in: d }),
            spec(name("query_key_value.bias"), &[3 * d], Role::Bias),
            spec(name("attention_out.weight"), &[d, d], Role::Residual { fan_in: d }),
            spec(name("attention_out.bias"), &[d], Role::Bias),
            spec(name("feed_forward_norm.gamma"), &[d], Role::NormScale),
            spec(name("feed_forward_norm.beta"), &[d], Role::NormShift),
            spec(name("feed_forward_in.weight"), &[d, 4 * d], Role::Linear { fan_in: d }),
            spec(name("feed_forward_in.bias"), &[4 * d], Role::Bias),
            spec(name("feed_forward_out.weight"), &[4 * d, d], Role::Residual { fan_in: 4 * d }),
            spec(name("feed_forward_out.bias"), &[d], Role::Bias),
        ]);
    }
    if let Some(Latent { width, .. }) = architecture.latent {
        specs.extend([
            spec("latent.norm.gamma".into(), &[d], Role::NormScale),
            spec("latent.norm.beta".into(), &[d], Role::NormShift),
            spec("latent.infer.weight".into(), &[d, width], Role::Linear { fan_in: d }),
            spec("latent.infer.bias".into(), &[width], Role::Bias),
            spec("latent.tell.weight".into(), &[width, d], Role::Linear { fan_in: width }),
            spec("latent.tell.bias".into(), &[d], Role::Bias),
            spec("latent.gain.weight".into(), &[width, d], Role::Linear { fan_in: width }),
            spec("latent.gain.bias".into(), &[d], Role::Bias),
        ]);
    }
    specs.extend([
        spec("final_norm.gamma".into(), &[d], Role::NormScale),
        spec("final_norm.beta".into(), &[d], Role::NormShift),
        spec("read_out.weight".into(), &[d, 1], Role::Boundary { fan_in: d, bias: false }),
        spec("read_out.bias".into(), &[1], Role::Boundary { fan_in: d, bias: true }),
    ]);
    specs
}

/// Errors unless `weights` has exactly the architecture's parameters.
pub(crate) fn check(architecture: &Architecture, weights: &Weights) -> Result<(), ModelError> {
    let specs = specs(architecture);
    for spec in &specs {
        let found = weights.get(&spec.name).ok_or_else(|| ModelError::MissingTensor { name: spec.name.clone() })?;
        if found.shape != spec.shape {
            let (expected, found) = (spec.shape.clone(), found.shape.clone());
            return Err(ModelError::Shape { name: spec.name.clone(), expected, found });
        }
    }
    match weights.keys().find(|name| specs.iter().all(|spec| spec.name != **name)) {
        Some(name) => Err(ModelError::UnexpectedTensor { name: name.clone() }),
        None => Ok(()),
    }
}

/// Replaces every parameter by the one of its name. The names and shapes have been checked.
pub(crate) struct Load<'a, B: Backend> {
    pub(crate) weights: &'a Weights,
    pub(crate) device: &'a B::Device,
    pub(crate) path: Vec<String>,
}

impl<B: Backend> ModuleMapper<B> for Load<'_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let value = to_device(&self.weights[&self.path.join(".")], self.device);
        Param::initialized(param.id, value.require_grad())
    }
}

/// Walks the parameters with their names.
struct Visit<F> {
    path: Vec<String>,
    each: F,
}

/// What a walk does at a parameter of any rank.
trait Each<B: Backend> {
    fn parameter<const D: usize>(&mut self, name: String, param: &Param<Tensor<B, D>>);
}

impl<B: Backend, F: Each<B>> ModuleVisitor<B> for Visit<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.each.parameter(self.path.join("."), param);
    }
}

fn walk<B: Backend, F: Each<B>>(model: &Transformer<B>, each: F) -> F {
    let mut visit = Visit { path: Vec::new(), each };
    model.visit(&mut visit);
    visit.each
}

/// What a backend computes with.
pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// Scale and shift.
pub(crate) fn of_norm<B: Backend>(norm: &LayerNorm<B>) -> kernels::Norm<FloatTensor<B>> {
    let beta = norm.beta.as_ref().expect("the norms have a shift");
    kernels::Norm { gamma: primitive(norm.gamma.val()), beta: primitive(beta.val()) }
}

/// Weight and bias.
pub(crate) fn of_linear<B: Backend>(linear: &Linear<B>) -> kernels::Linear<FloatTensor<B>> {
    let bias = linear.bias.as_ref().expect("the linear maps have a bias");
    kernels::Linear { weight: primitive(linear.weight.val()), bias: primitive(bias.val()) }
}

/// Copies the parameters to the host.
pub(crate) fn to_weights<B: Backend>(model: &Transformer<B>) -> Weights {
    struct Copy(Weights);
    impl<B: Backend> Each<B> for Copy {
        fn parameter<const D: usize>(&mut self, name: String, param: &Param<Tensor<B, D>>) {
            self.0.insert(name, to_host(param.val()));
        }
    }
    walk(model, Copy(Weights::new())).0
}

/// Copies one tensor a parameter (gradients, moments) to the host, by the parameters' names.
pub fn gradients_to_weights<B: Backend>(model: &Transformer<B>, gradients: &GradientsParams) -> Weights {
    struct Copy<'a>(&'a GradientsParams, Weights);
    impl<B: Backend> Each<B> for Copy<'_> {
        fn parameter<const D: usize>(&mut self, name: String, param: &Param<Tensor<B, D>>) {
            if let Some(gradient) = self.0.get::<B, D>(param.id) {
                self.1.insert(name, to_host(gradient));
            }
        }
    }
    walk(model, Copy(gradients, Weights::new())).1
}

/// The inverse of [`gradients_to_weights`].
///
/// # Errors
/// When `weights` does not have exactly one tensor of the right shape for every parameter of `architecture`.
pub fn gradients_from_weights<B: Backend>(
    model: &Transformer<B>,
    architecture: &Architecture,
    weights: &Weights,
    device: &B::Device,
) -> Result<GradientsParams, ModelError> {
    struct Copy<'a, B: Backend>(&'a Weights, &'a B::Device, GradientsParams);
    impl<B: Backend> Each<B> for Copy<'_, B> {
        fn parameter<const D: usize>(&mut self, name: String, param: &Param<Tensor<B, D>>) {
            self.2.register::<B, D>(param.id, to_device(&self.0[&name], self.1));
        }
    }
    check(architecture, weights)?;
    Ok(walk(model, Copy(weights, device, GradientsParams::new())).2)
}

pub(crate) fn to_host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> HostTensor {
    let shape = tensor.dims().to_vec();
    let values = tensor.into_data().convert::<f32>().to_vec().expect("the data was just converted to f32");
    HostTensor { shape, values }
}

fn to_device<B: Backend, const D: usize>(tensor: &HostTensor, device: &B::Device) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(tensor.values.clone(), tensor.shape.clone()), device)
}
