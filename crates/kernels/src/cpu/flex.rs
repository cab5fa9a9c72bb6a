//! Burn's flex backend with operations in one piece, on the elements of its tensors.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData, TensorMetadata, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use pulp::Arch;
use rayon::prelude::*;

use super::orthogonal::orthogonal;
use super::update;
use crate::{AnySaved, Fused, FusedKernels, Inputs, Kernels, Operation, Updates};

impl FusedKernels for Flex {
    fn operate<const N: usize, O: Operation<N>>(operation: &O, inputs: [FlexTensor; N]) -> FlexTensor {
        on_slices(operation, &inputs, false).0
    }

    fn operate_saved<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[FlexTensor; N],
    ) -> (FlexTensor, AnySaved) {
        let (out, saved) = on_slices(operation, inputs, true);
        (out, Arc::new(saved))
    }

    fn gradient<const N: usize, O: Operation<N>>(
        operation: &O,
        inputs: &[FlexTensor; N],
        saved: &AnySaved,
        gradient: FlexTensor,
    ) -> [Option<FlexTensor>; N] {
        let saved = saved.downcast_ref().expect("saved by the same operation");
        let (contiguous, gradient) = (inputs.each_ref().map(FlexTensor::to_contiguous), gradient.to_contiguous());
        let slices = Inputs::from_array(contiguous.each_ref().map(values));
        let found = operation.backward(Arch::new(), slices, saved, values(&gradient)).into_array();
        let mut shapes = inputs.iter().map(|input| input.shape().to_vec());
        found.map(|values| {
            let shape = shapes.next().expect("there are as many gradients as inputs");
            values.map(|values| tensor(values, shape))
        })
    }
}

impl Kernels for Flex {
    type Way = Fused;
    const HOST_PRODUCTS: bool = true;

    fn add_parts<const D: usize>(parts: Vec<Tensor<Self, D>>) -> Tensor<Self, D> {
        let mut parts = parts.into_iter().map(|part| primitive(part).to_contiguous());
        let mut sum = parts.next().expect("a batch has at least one part");
        let parts: Vec<_> = parts.collect();
        update::add_parts(Arch::new(), values_mut(&mut sum), &parts.iter().map(values).collect::<Vec<_>>());
        from_primitive(sum)
    }

    fn squares(tensors: Vec<Tensor<Self, 1>>) -> Tensor<Self, 1> {
        let squares = |part: Tensor<Self, 1>| update::squares(Arch::new(), values(&primitive(part).to_contiguous()));
        let squares: Vec<f32> = tensors.into_iter().map(squares).collect();
        let len = squares.len();
        from_primitive::<1>(tensor(squares, vec![len])).sum()
    }

    fn orthogonal(matrices: Vec<Tensor<Self, 2>>) -> Vec<Tensor<Self, 2>> {
        let each = |matrix: Tensor<Self, 2>| {
            let [rows, columns] = matrix.dims();
            from_primitive(tensor(orthogonal(values(&primitive(matrix).to_contiguous()), columns), vec![rows, columns]))
        };
        matrices.into_par_iter().map(each).collect()
    }

    fn adam<const D: usize>(
        updates: &mut Updates<Self>,
        state: [Tensor<Self, D>; 3],
        gradient: Tensor<Self, D>,
    ) -> [Tensor<Self, D>; 3] {
        let factor = updates.factor.as_ref().map_or(1.0, |factor| values(&primitive(factor.clone()))[0]);
        let [mut value, mut first, mut second] = state.map(|tensor| primitive(tensor).to_contiguous());
        let state = [&mut value, &mut first, &mut second].map(values_mut);
        update::adam(Arch::new(), updates.step, factor, state, values(&primitive(gradient).to_contiguous()));
        [value, first, second].map(from_primitive)
    }
}

fn on_slices<const N: usize, O: Operation<N>>(
    operation: &O,
    inputs: &[FlexTensor; N],
    save: bool,
) -> (FlexTensor, O::Saved) {
    let contiguous = inputs.each_ref().map(FlexTensor::to_contiguous);
    let slices = Inputs::from_array(contiguous.each_ref().map(values));
    let (out, saved) = operation.forward(Arch::new(), slices, save);
    (tensor(out, operation.shape()), saved)
}

/// The elements of a contiguous tensor.
fn values(tensor: &FlexTensor) -> &[f32] {
    let (first, end) = tensor.layout().contiguous_offsets().expect("parameters and states are contiguous");
    &tensor.storage::<f32>()[first..end]
}

/// The elements of a contiguous tensor, copied first if someone else holds them.
fn values_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let (first, end) = tensor.layout().contiguous_offsets().expect("gradients and moments are contiguous");
    &mut tensor.storage_mut::<f32>()[first..end]
}

fn primitive<const D: usize>(tensor: Tensor<Flex, D>) -> FlexTensor {
    tensor.into_primitive().tensor()
}

fn from_primitive<const D: usize>(primitive: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn tensor(values: Vec<f32>, shape: Vec<usize>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
