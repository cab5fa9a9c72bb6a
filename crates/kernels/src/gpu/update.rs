//! What happens to the parameters after the backward pass.

use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::sums::column_sums;
use super::{ROWS, UNITS, arg, empty, planes, shaped};
use crate::AdamStep;

/// Cubes that share a tensor: enough to keep a GPU busy.
const CUBES: u32 = 512;

/// Tensors that one launch updates.
const AT_ONCE: usize = 40;

/// A parameter and its two moments.
#[derive(CubeType, CubeLaunch)]
struct State {
    value: Array<f32>,
    first: Array<f32>,
    second: Array<f32>,
}

/// One step of Adam for several parameters, every unit its share of each, with every gradient multiplied by
/// `factor[0]`. See [`AdamStep`].
#[cube(launch)]
fn adam_kernel(
    states: &mut Sequence<State>,
    gradients: &Sequence<Array<f32>>,
    factor: &Array<f32>,
    constants: &AdamConstants,
    #[comptime] clips: bool,
) {
    let mut scale = 1.0f32;
    if clips {
        scale = factor[0];
    }
    #[unroll]
    for i in 0..gradients.len() {
        let gradient = gradients.index(i);
        let state = states.index_mut(i);
        let mut at = ABSOLUTE_POS;
        while at < gradient.len() {
            let g = gradient[at] * scale;
            let m = state.first[at] * constants.beta_1 + g * constants.take_1;
            let v = state.second[at] * constants.beta_2 + g * g * constants.take_2;
            state.first[at] = m;
            state.second[at] = v;
            state.value[at] -= m * constants.rate / (v.sqrt() * constants.root + constants.epsilon);
            at += CUBE_COUNT * CUBE_DIM as usize;
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

impl AdamConstants {
    fn of<R: CubeRuntime>(step: AdamStep) -> AdamConstantsLaunch<R> {
        let AdamStep { beta_1, beta_2, epsilon, rate, root } = step;
        let [take_1, take_2] = [1.0 - beta_1, 1.0 - beta_2];
        let [beta_1, beta_2, take_1, take_2, epsilon, rate, root] =
            [beta_1, beta_2, take_1, take_2, epsilon, rate, root].map(|constant| constant as f32);
        AdamConstantsLaunch::new(beta_1, beta_2, take_1, take_2, epsilon, rate, root)
    }
}

/// A tensor in memory that nobody else holds: its own, or that of a copy.
pub(super) fn own<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// One step of Adam on parameters and their two moments, in their memory, from their gradients.
pub(super) fn adam<R: CubeRuntime>(
    step: AdamStep,
    factor: Option<CubeTensor<R>>,
    waiting: Vec<([CubeTensor<R>; 3], CubeTensor<R>)>,
) {
    let waiting: Vec<_> = waiting.into_iter().map(|(state, gradient)| (state, into_contiguous(gradient))).collect();
    for waiting in waiting.chunks(AT_ONCE) {
        let first = &waiting[0].1;
        adam_kernel::launch(
            &first.client,
            CubeCount::Static(CUBES, 1, 1),
            CubeDim::new_1d(UNITS),
            waiting.iter().map(|(state, _)| state_arg(state)).collect(),
            waiting.iter().map(|(_, gradient)| arg(gradient)).collect(),
            arg(factor.as_ref().unwrap_or(first)),
            AdamConstants::of(step),
            factor.is_some(),
        );
    }
}

fn state_arg<R: CubeRuntime>(tensors: &[CubeTensor<R>; 3]) -> StateLaunch<R> {
    let [value, first, second] = tensors.each_ref().map(arg);
    StateLaunch::new(value, first, second)
}

/// Adds up the squares of several tensors, every plane its share of each.
#[cube(launch)]
fn squares_kernel(tensors: &Sequence<Array<f32>>, sums: &mut Array<f32>) {
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..tensors.len() {
        let tensor = tensors.index(i);
        let mut at = ABSOLUTE_POS;
        while at < tensor.len() {
            sum += tensor[at] * tensor[at];
            at += CUBE_COUNT * CUBE_DIM as usize;
        }
    }
    let sum = plane_sum(sum);
    if UNIT_POS_X == 0 {
        sums[CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize] = sum;
    }
}

/// The sum of the squares of all elements of several tensors, `[1]`.
pub(super) fn squares<R: CubeRuntime>(tensors: Vec<CubeTensor<R>>) -> CubeTensor<R> {
    let client = tensors[0].client.clone();
    let [sums] = empty(&tensors[0], [[(CUBES * ROWS) as usize, 1]]);
    let (count, dim) = (CubeCount::Static(CUBES, 1, 1), planes(&client));
    let tensors: Vec<_> = tensors.into_iter().map(into_contiguous).collect();
    squares_kernel::launch(&client, count, dim, tensors.iter().map(arg).collect(), arg(&sums));
    shaped(column_sums(vec![sums]).remove(0), &[1])
}
