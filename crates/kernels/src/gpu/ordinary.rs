//! Operations that are made of burn's own ones on a GPU.

use burn::backend::Autodiff;
use burn::tensor::backend::DeviceOps;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_cubecl::cubecl::server::ComputeServer;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeRuntime};

use crate::decoder::Described;

/// A runtime that burn's backend runs on.
pub trait GpuRuntime: CubeRuntime<Device: DeviceOps, Server: ComputeServer> {}

impl<R: CubeRuntime<Device: DeviceOps, Server: ComputeServer>> GpuRuntime for R {}

type Backend<R> = CubeBackend<R, f32, i32, u8>;

fn tensor<R: GpuRuntime>(primitive: CubeTensor<R>) -> Tensor<Backend<R>, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The result of an operation.
pub(crate) fn ordinary<R: GpuRuntime, O: Described<N>, const N: usize>(
    operation: &O,
    inputs: [CubeTensor<R>; N],
) -> CubeTensor<R> {
    operation.ordinary(inputs.map(tensor)).into_primitive().tensor()
}

/// The gradient of its last input from that of the result, by autodiff over the operation done again.
pub(crate) fn ordinary_gradient<R: GpuRuntime, O: Described<N>, const N: usize>(
    operation: &O,
    inputs: [CubeTensor<R>; N],
    gradient: CubeTensor<R>,
) -> CubeTensor<R> {
    let mut inputs = inputs.map(|input| Tensor::<Autodiff<Backend<R>>, 2>::from_inner(tensor(input)));
    let last = inputs.last_mut().expect("an operation has inputs");
    *last = last.clone().require_grad();
    let last = last.clone();
    let result = operation.ordinary(inputs);
    let gradients = (result * Tensor::from_inner(tensor(gradient))).sum().backward();
    let found = last.grad(&gradients).expect("the result depends on the last input");
    found.into_primitive().tensor()
}
