//! Burn's GPU backends with operations in one piece.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorPrimitive};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend};

use super::update::{adam, own, squares};
use super::{F64_PRODUCTS, GpuRuntime};
use crate::{AnySaved, Fused, FusedKernels, Inputs, Kernels, Operation, Updates};

impl<R, BT> FusedKernels for CubeBackend<R, f32, i32, BT>
where
    R: GpuRuntime,
    BT: BoolElement,
{
    fn operate<const N: usize, O: Operation<N>>(operation: &O, inputs: [CubeTensor<R>; N]) -> CubeTensor<R> {
        operation.forward_on_gpu(Inputs::from_array(inputs)).0
    }

    fn operate_saved<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[CubeTensor<R>; N],
    ) -> (CubeTensor<R>, AnySaved) {
        let (out, saved) = operation.forward_on_gpu(Inputs::from_array(inputs.clone()));
        (out, Arc::new(saved))
    }

    fn gradient<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[CubeTensor<R>; N],
        saved: &AnySaved,
        gradient: CubeTensor<R>,
    ) -> [Option<CubeTensor<R>>; N] {
        let saved = saved.downcast_ref().expect("saved by the same operation");
        operation.backward_on_gpu(Inputs::from_array(inputs.clone()), saved, gradient).into_array()
    }
}

impl<R, BT> Kernels for CubeBackend<R, f32, i32, BT>
where
    R: GpuRuntime,
    BT: BoolElement,
{
    type Way = Fused;
    const F64_PRODUCTS: bool = F64_PRODUCTS;

    fn squares(tensors: Vec<Tensor<Self, 1>>) -> Tensor<Self, 1> {
        let tensors = tensors.into_iter().map(|tensor| tensor.into_primitive().tensor()).collect();
        Tensor::<Self, 1>::from_primitive(TensorPrimitive::Float(squares(tensors)))
    }

    fn adam<const D: usize>(
        updates: &mut Updates<Self>,
        state: [Tensor<Self, D>; 3],
        gradient: Tensor<Self, D>,
    ) -> [Tensor<Self, D>; 3] {
        let state = state.map(|tensor| own(tensor.into_primitive().tensor()));
        updates.waiting.push((state.clone(), gradient.into_primitive().tensor()));
        state.map(|tensor| Tensor::from_primitive(TensorPrimitive::Float(tensor)))
    }

    fn finish(Updates { step, factor, waiting }: Updates<Self>) {
        adam(step, factor.map(|factor| factor.into_primitive().tensor()), waiting);
    }
}
