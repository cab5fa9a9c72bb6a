//! What a model's parameters are, and their way between a device and the host. They go by name, over any module.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::nn::{LayerNorm, Linear};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::tape::Operand;
use crate::{Architecture, Free, HostTensor, Model, ModelError, Weights};

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
    /// The bias of a gate that is to be open at the start.
    OpenGate,
    NormScale,
    NormShift,
    Position,
}

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
    /// How many linear maps of the same input lie side by side in it.
    maps: usize,
}

impl Spec {
    pub(crate) fn new(name: impl Into<String>, shape: &[usize], role: Role) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), role, maps: 1 }
    }

    pub(crate) fn side_by_side(self, maps: usize) -> Self {
        Self { maps, ..self }
    }
}

/// Errors unless `weights` has exactly the architecture's parameters.
pub(crate) fn check(architecture: &Architecture, weights: &Weights) -> Result<(), ModelError> {
    let specs = architecture.specs();
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

/// Where a walk through a module is: the fields on the way, which make a parameter's name.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    /// A model is an enum of its kinds; names begin behind that.
    fn is_field(container: &str) -> bool {
        !container.starts_with("Enum:")
    }

    fn enter(&mut self, name: &str, container: &str) {
        if Self::is_field(container) {
            self.0.push(name.to_owned());
        }
    }

    fn exit(&mut self, container: &str) {
        if Self::is_field(container) {
            self.0.pop();
        }
    }

    fn name(&self) -> String {
        self.0.join(".")
    }
}

/// Replaces every parameter by the one of its name. The names and shapes have been checked.
pub(crate) struct Load<'a, B: Backend> {
    weights: &'a Weights,
    device: &'a B::Device,
    path: Path,
}

impl<'a, B: Backend> Load<'a, B> {
    pub(crate) fn new(weights: &'a Weights, device: &'a B::Device) -> Self {
        Self { weights, device, path: Path::default() }
    }
}

impl<B: Backend> ModuleMapper<B> for Load<'_, B> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let value = to_device(&self.weights[&self.path.name()], self.device);
        Param::initialized(param.id, value.require_grad())
    }
}

/// Gives every free parameter a gradient, and no other.
pub(crate) struct Freeze {
    free: Free,
    n_layers: usize,
    path: Path,
}

impl Freeze {
    /// All but what `free` names in a model of `n_layers` blocks.
    pub(crate) fn all_but(free: Free, n_layers: usize) -> Self {
        Self { free, n_layers, path: Path::default() }
    }
}

impl<B: Backend> ModuleMapper<B> for Freeze {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.set_require_grad(self.free.has(&self.path.name(), self.n_layers))
    }
}

/// Walks the parameters with their names.
struct Visit<F> {
    path: Path,
    each: F,
}

/// What a walk does at a parameter of any rank.
trait Each<B: Backend> {
    fn parameter<const D: usize>(&mut self, name: String, param: &Param<Tensor<B, D>>);
}

impl<B: Backend, F: Each<B>> ModuleVisitor<B> for Visit<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.each.parameter(self.path.name(), param);
    }
}

fn walk<B: Backend, F: Each<B>>(model: &Model<B>, each: F) -> F {
    let mut visit = Visit { path: Path::default(), each };
    model.visit(&mut visit);
    visit.each
}

/// Scale and shift.
pub(crate) fn of_norm<B: Backend>(norm: &LayerNorm<B>) -> kernels::Norm<Operand<B>> {
    let beta = norm.beta.as_ref().expect("the norms have a shift");
    kernels::Norm { gamma: Operand::parameter(&norm.gamma), beta: Operand::parameter(beta) }
}

/// Weight and bias.
pub(crate) fn of_linear<B: Backend>(linear: &Linear<B>) -> kernels::Linear<Operand<B>> {
    let bias = linear.bias.as_ref().expect("the linear maps have a bias");
    kernels::Linear { weight: Operand::parameter(&linear.weight), bias: Operand::parameter(bias) }
}

/// Copies the parameters to the host.
pub(crate) fn to_weights<B: Backend>(model: &Model<B>) -> Weights {
    struct Copy(Weights);
    impl<B: Backend> Each<B> for Copy {
        fn parameter<const D: usize>(&mut self, name: String, param: &Param<Tensor<B, D>>) {
            self.0.insert(name, to_host(param.val()));
        }
    }
    walk(model, Copy(Weights::new())).0
}

/// The weights of the linear maps inside the blocks, each with the number of maps that lie side by side in its columns.
pub(crate) fn hidden_weights<B: Backend>(model: &Model<B>, architecture: &Architecture) -> Vec<(ParamId, usize)> {
    struct Find(BTreeMap<String, usize>, Vec<(ParamId, usize)>);
    impl<B: Backend> Each<B> for Find {
        fn parameter<const D: usize>(&mut self, name: String, param: &Param<Tensor<B, D>>) {
            self.1.extend(self.0.get(&name).map(|&maps| (param.id, maps)));
        }
    }
    let specs = architecture.specs().into_iter();
    let hidden = specs.filter(|spec| matches!(spec.role, Role::Linear { .. } | Role::Residual { .. }));
    walk(model, Find(hidden.map(|spec| (spec.name, spec.maps)).collect(), Vec::new())).1
}

/// Copies one tensor a parameter (gradients, moments) to the host, by the parameters' names.
pub fn gradients_to_weights<B: Backend>(model: &Model<B>, gradients: &GradientsParams) -> Weights {
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
    model: &Model<B>,
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
