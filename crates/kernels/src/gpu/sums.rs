//! The sums of the columns of several matrices at once: a launch costs the host more than such a sum costs the GPU.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{arg, empty_all};

/// Rows that one unit sums up; matrices of more are summed in two steps.
const FEW: usize = 32;

/// Units of a cube, one a column.
const COLUMNS: u32 = 64;

#[derive(CubeType, CubeLaunch)]
struct Matrix {
    values: Array<f32>,
    width: u32,
    at_a_time: u32,
}

/// The sums of `at_a_time` rows of a matrix, in their order, for every column; the last may be of fewer.
///
/// # Shapes
/// `[rows, width]` to `[rows / at_a_time rounded up, width]`
#[cube]
fn sum_rows(matrix: &Matrix, sums: &mut Array<f32>) {
    let (column, width) = (ABSOLUTE_POS_X as usize, matrix.width as usize);
    let to = CUBE_POS_Y as usize * width + column;
    if column < width && to < sums.len() {
        let first = CUBE_POS_Y as usize * matrix.at_a_time as usize;
        let end = clamp_max(first + matrix.at_a_time as usize, matrix.values.len() / width);
        let mut sum = 0.0f32;
        for row in first..end {
            sum += matrix.values[row * width + column];
        }
        sums[to] = sum;
    }
}

/// [`sum_rows`] of several matrices, each by its own layer of cubes.
#[cube(launch)]
fn sum_rows_of_all(matrices: &Sequence<Matrix>, sums: &mut Sequence<Array<f32>>) {
    #[unroll]
    for i in 0..matrices.len() {
        if CUBE_POS_Z as usize == i {
            sum_rows(matrices.index(i), sums.index_mut(i));
        }
    }
}

/// The sum of every column of some matrices, `[rows, width]` to `[1, width]`.
pub(super) fn column_sums<R: CubeRuntime>(mut matrices: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
    sum_those(&mut matrices, |rows| rows > FEW, usize::isqrt);
    sum_those(&mut matrices, |rows| rows > 1, |rows| rows);
    matrices
}

/// Replaces the matrices whose number of rows is `wanted` by the sums of so many rows at a time.
fn sum_those<R: CubeRuntime>(
    matrices: &mut [CubeTensor<R>],
    wanted: impl Fn(usize) -> bool,
    at_a_time: impl Fn(usize) -> usize,
) {
    let dims = |matrix: &CubeTensor<R>| [matrix.meta.shape()[0], matrix.meta.shape()[1]];
    let wanted: Vec<_> = matrices.iter_mut().filter(|matrix| wanted(dims(matrix)[0])).collect();
    let Some(first) = wanted.first() else { return };
    let sizes = wanted.iter().map(|matrix| dims(matrix));
    let shapes: Vec<_> = sizes.map(|[rows, width]| [rows.div_ceil(at_a_time(rows)), width]).collect();
    let (client, sums) = (first.client.clone(), empty_all(first, &shapes));
    let most = |dimension: usize| shapes.iter().map(|shape| shape[dimension]).max().expect("there is a matrix") as u32;
    let count = CubeCount::Static(most(1).div_ceil(COLUMNS), most(0), wanted.len() as u32);
    let matrix = |matrix: &&mut CubeTensor<R>| {
        let [rows, width] = dims(matrix);
        MatrixLaunch::new(arg(matrix), width as u32, at_a_time(rows) as u32)
    };
    let (args, outs) = (wanted.iter().map(matrix).collect(), sums.iter().map(arg).collect());
    sum_rows_of_all::launch(&client, count, CubeDim::new_1d(COLUMNS), args, outs);
    wanted.into_iter().zip(sums).for_each(|(matrix, sums)| *matrix = sums);
}
