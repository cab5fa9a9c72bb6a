//! What happens to the parameters after the backward pass.

use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{UNITS, column_sums, empty, len, shaped};
use crate::AdamStep;

/// Units that share a tensor: enough to keep a GPU busy.
const PARTS: u32 = 512 * UNITS;

/// Tensors that one launch updates.
const AT_ONCE: usize = 24;

/// One step of Adam for several parameters, every unit its share of each, with every gradient multiplied by
/// `factor[0]`; the moments are updated in place. See [`AdamStep`].
#[cube(launch)]
fn adam_kernel(
    values: &Sequence<Array<f32>>,
    gradients: &Sequence<Array<f32>>,
    first: &mut Sequence<Array<f32>>,
    second: &mut Sequence<Array<f32>>,
    updated: &mut Sequence<Array<f32>>,
    factor: &Array<f32>,
    constants: &AdamConstants,
    units: u32,
    #[comptime] clips: bool,
) {
    let mut scale = 1.0f32;
    if clips {
        scale = factor[0];
    }
    #[unroll]
    for i in 0..values.len() {
        let mut at = ABSOLUTE_POS;
        while at < values.index(i).len() {
            let g = gradients.index(i)[at] * scale;
            let m = first.index(i)[at] * constants.beta_1 + g * constants.take_1;
            let v = second.index(i)[at] * constants.beta_2 + g * g * constants.take_2;
            first.index_mut(i)[at] = m;
            second.index_mut(i)[at] = v;
            updated.index_mut(i)[at] =
                values.index(i)[at] - m * constants.rate / (v.sqrt() * constants.root + constants.epsilon);
            at += units as usize;
        }
    }
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct AdamConstants {
    beta_1: f32,
    beta_2: f32,
    take_1: f32,
    take_2: f32,
    epsilon: f32,
    rate: f32,
    root: f32,
}

/// One step of Adam on parameters and their two moments.
pub(crate) fn adam<R: CubeRuntime>(
    step: AdamStep,
    factor: Option<CubeTensor<R>>,
    states: Vec<[CubeTensor<R>; 3]>,
    gradients: Vec<CubeTensor<R>>,
) -> Vec<[CubeTensor<R>; 3]> {
    let gradients: Vec<_> = gradients.into_iter().map(into_contiguous).collect();
    let client = gradients[0].client.clone();
    let clips = factor.is_some();
    let factor = factor.unwrap_or_else(|| gradients[0].clone());
    let mut updated = Vec::new();
    for (states, gradients) in states.chunks(AT_ONCE).zip(gradients.chunks(AT_ONCE)) {
        let mut args: [_; 5] = std::array::from_fn(|_| SequenceArg::new());
        for ([value, first, second], gradient) in states.iter().zip(gradients) {
            // Moments that someone else holds are copied first.
            let [first, second] =
                [first, second].map(|moment| if moment.can_mut() { moment.clone() } else { moment.copy() });
            let next = empty(value, &[len(value)]);
            let tensors = [value, gradient, &first, &second, &next];
            args.iter_mut().zip(tensors).for_each(|(arg, tensor)| arg.push(tensor.clone().into_array_arg()));
            updated.push([next, first, second]);
        }
        let [values, gradients, first, second, next] = args;
        let AdamStep { beta_1, beta_2, epsilon, rate, root } = step;
        let [take_1, take_2] = [1.0 - beta_1, 1.0 - beta_2];
        let [beta_1, beta_2, take_1, take_2, epsilon, rate, root] =
            [beta_1, beta_2, take_1, take_2, epsilon, rate, root].map(|constant| constant as f32);
        let constants = AdamConstantsLaunch::new(beta_1, beta_2, take_1, take_2, epsilon, rate, root);
        let (count, dim) = (CubeCount::Static(PARTS / UNITS, 1, 1), CubeDim::new_1d(UNITS));
        adam_kernel::launch(
            &client,
            count,
            dim,
            values,
            gradients,
            first,
            second,
            next,
            factor.clone().into_array_arg(),
            constants,
            PARTS,
            clips,
        );
    }
    updated
}

/// Adds up the squares of several tensors, every unit its share of each.
#[cube(launch)]
fn squares_kernel(tensors: &Sequence<Array<f32>>, sums: &mut Array<f32>) {
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..tensors.len() {
        let tensor = tensors.index(i);
        let mut at = ABSOLUTE_POS;
        while at < tensor.len() {
            sum += tensor[at] * tensor[at];
            at += sums.len();
        }
    }
    sums[ABSOLUTE_POS] = sum;
}

/// The sum of the squares of all elements of several tensors, as `[UNITS]` parts of it.
pub(crate) fn squares<R: CubeRuntime>(tensors: Vec<CubeTensor<R>>) -> CubeTensor<R> {
    let client = tensors[0].client.clone();
    let sums = empty(&tensors[0], &[PARTS as usize]);
    let mut args = SequenceArg::new();
    tensors.into_iter().for_each(|tensor| args.push(into_contiguous(tensor).into_array_arg()));
    let count = CubeCount::Static(PARTS / UNITS, 1, 1);
    squares_kernel::launch(&client, count, CubeDim::new_1d(UNITS), args, sums.clone().into_array_arg());
    column_sums(&shaped(sums, &[(PARTS / UNITS) as usize, UNITS as usize]))
}
