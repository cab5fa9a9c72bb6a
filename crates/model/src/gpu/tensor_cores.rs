//! Products on tensor cores, with factors of TF32 and sums of f32.
//!
//! A cube makes one rectangle of the product, and goes along the sum a slab at a time: while its planes multiply one slab
//! out of shared memory, the next is on its way into registers.

use cubecl::cmma::MmaDefinition;
use cubecl::features::MmaConfig;
use cubecl::prelude::*;

use super::WIDE_PRODUCTS;
use super::rows::{gelu, gelu_slope};

/// Which index of a factor has its neighbours beside it in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Contiguous {
    /// The one that is summed over.
    Summed,
    /// The one that the product keeps.
    Kept,
}

/// What becomes of every number of a product before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// Nothing.
    Plain,
    /// The bias of its column is added.
    Bias,
    /// Its bias and the number at its place in another matrix are added.
    Sum,
    /// Nothing, and the GELU of it and its bias is written elsewhere.
    Gelu,
    /// It is multiplied by the derivative of the GELU of another number and its bias.
    GeluGradient,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    /// Of both factors.
    pub(super) layouts: [Contiguous; 2],
    /// Of the product.
    pub(super) ending: Ending,
}

/// Units of a plane.
const LANES: usize = 32;

/// Planes of a cube, down, and as many across.
const PLANES: usize = 2;

const UNITS: usize = LANES * PLANES * PLANES;

/// Rows, columns and terms of an instruction.
pub(super) const INSTRUCTION: [usize; 3] = [16, 8, 8];

/// Instructions of a plane for one step along the sum, down and across.
const INSTRUCTIONS: [usize; 2] = [2, 4];

/// Rows, and columns, that a plane makes.
const PLANE: usize = INSTRUCTIONS[0] * INSTRUCTION[0];

/// Rows, and columns, that a cube makes.
const CUBE: usize = PLANES * PLANE;

/// Terms of the sum in a slab.
const SLAB: usize = 32;

/// What TF32 has of an f32: all but the last 13 binary places.
const KEPT_BITS: u32 = !0 << 13;

/// How much of itself a number loses on average as it is cut to that; it is made larger by as much before.
const LOSS: f32 = 0.72 / 2048.0;

/// Numbers that are read at a time.
pub(super) const VECTOR: usize = 4;

/// Vectors of a slab that a unit brings.
const SHARE: usize = CUBE * SLAB / VECTOR / UNITS;

/// The cubes that make so many products of such a size.
pub(super) fn cubes([rows, columns]: [usize; 2], pairs: usize) -> (CubeCount, CubeDim) {
    let [across, down, pairs] = [columns.div_ceil(CUBE), rows.div_ceil(CUBE), pairs].map(|cubes| cubes as u32);
    (CubeCount::Static(across, down, pairs), CubeDim::new_2d(LANES as u32, (UNITS / LANES) as u32))
}

/// Whether a GPU has them, and this build takes products on them.
pub(super) fn available<R: Runtime>(client: &ComputeClient<R>) -> bool {
    let [m, n, k] = INSTRUCTION.map(|size| size as u32);
    let [factor, sum] = [tf32::as_type_native_unchecked(), f32::as_type_native_unchecked()].map(|ty| ty.storage_type());
    let instruction = MmaConfig { a_type: factor, b_type: factor, cd_type: sum, m, n, k };
    !WIDE_PRODUCTS && client.properties().features.matmul.mma.contains(&instruction)
}

/// Four numbers beside each other.
type Vectors = Array<Vector<f32, Const<4>>>;

/// Slabs in shared memory.
type Slabs = SharedMemory<Vector<tf32, Const<4>>>;

/// What a lane holds of a factor of an instruction.
pub(super) type Factor = Array<Vector<tf32, Const<1>>>;

/// What a lane holds of sixteen rows and eight columns: of its first and of its second row two neighbouring columns.
pub(super) type Tile = Array<Vector<f32, Const<2>>>;

/// Sums to begin with.
#[cube]
pub(super) fn zeros(#[comptime] tiles: usize) -> Sequence<Tile> {
    let mut zeros = Sequence::<Tile>::new();
    #[unroll]
    for _ in 0..tiles {
        let mut tile = Tile::new(2usize);
        tile[0] = Vector::new(0.0f32);
        tile[1] = Vector::new(0.0f32);
        zeros.push(tile);
    }
    zeros
}

/// sum += a b, by one instruction.
#[cube]
pub(super) fn add_product(a: &Factor, b: &Factor, sum: &mut Tile) {
    let instruction = MmaDefinition::<tf32, tf32, f32>::new(INSTRUCTION[0], INSTRUCTION[1], INSTRUCTION[2]);
    instruction.execute_inplace(a, b, sum);
}

/// What a unit brings of every slab of a factor: where it finds it and where it puts it.
#[derive(CubeType)]
struct Share {
    /// Its vectors of the first slab.
    from: Array<usize>,
    /// Vectors from a slab to the next.
    step: usize,
    /// The first term of each, in a slab.
    terms: Array<usize>,
    /// Their places in shared memory, in vectors.
    to: Array<usize>,
}

/// Where a number of a slab lies in shared memory: vectors that neighbouring lanes read at once are in different banks.
#[cube]
fn place(kept: usize, term: usize, #[comptime] layout: Contiguous) -> usize {
    if comptime!(layout == Contiguous::Summed) {
        kept * SLAB + (term ^ (kept / 4 % 2 * 16))
    } else {
        term * CUBE + (kept ^ (term / 4 % 4 * 8))
    }
}

/// The share of a unit in a factor that begins at vector `first` and of which the cube needs rows or columns from `begin`.
#[cube]
fn share(first: usize, begin: usize, kept: usize, terms: usize, #[comptime] layout: Contiguous) -> Share {
    let (mut from, mut own_terms, mut to) = (Array::new(SHARE), Array::new(SHARE), Array::new(SHARE));
    let mut step = kept * (SLAB / VECTOR);
    if comptime!(layout == Contiguous::Summed) {
        step = usize::cast_from(SLAB / VECTOR);
    }
    #[unroll]
    for i in 0..SHARE {
        let vector = UNIT_POS as usize + i * UNITS;
        if comptime!(layout == Contiguous::Summed) {
            let (row, term) = (vector / (SLAB / VECTOR), vector % (SLAB / VECTOR) * VECTOR);
            from[i] = first + (clamp_max(begin + row, kept - 1) * terms + term) / VECTOR;
            own_terms[i] = term;
            to[i] = place(row, term, layout) / VECTOR;
        } else {
            let (column, term) = (vector % (CUBE / VECTOR) * VECTOR, vector / (CUBE / VECTOR));
            from[i] = first + (term * kept + clamp_max(begin + column, kept - VECTOR)) / VECTOR;
            own_terms[i] = term;
            to[i] = place(column, term, layout) / VECTOR;
        }
    }
    Share { from, step, terms: own_terms, to }
}

/// A unit's share of a slab, beyond the end of the sum zeros. So many terms are `left`.
#[cube]
fn bring(values: &Vectors, share: &Share, slab: usize, left: usize) -> Vectors {
    let mut brought = Vectors::new(SHARE);
    #[unroll]
    for i in 0..SHARE {
        let mut vector = Vector::<f32, Const<4>>::new(0.0f32);
        if share.terms[i] < left {
            vector = values[share.from[i] + slab * share.step];
        }
        brought[i] = vector;
    }
    brought
}

/// Cuts what a unit has brought to TF32, and puts it where its cube finds it.
#[cube]
fn put(brought: &Vectors, slabs: &mut Slabs, share: &Share, first: usize) {
    #[unroll]
    for i in 0..SHARE {
        let to = first + share.to[i];
        let bits = Vector::<u32, Const<4>>::reinterpret(brought[i] * Vector::new(1.0 + LOSS));
        slabs[to] = Vector::reinterpret(bits & Vector::new(KEPT_BITS));
    }
}

/// Where a lane finds the four rows or columns that it multiplies, `4 · group` and on, in vectors: for each half of a slab
/// where terms are neighbours.
#[cube]
fn places(begin: usize, #[comptime] layout: Contiguous) -> (usize, usize) {
    let (kept, term) = (begin + UNIT_POS_X as usize / 4 * VECTOR, UNIT_POS_X as usize % 4 * VECTOR);
    (place(kept, term, layout) / VECTOR, place(kept, term + 16, layout) / VECTOR)
}

/// Four rows or columns by four terms, which a lane multiplies, one vector after the other: the terms of a row where those
/// are neighbours, else the rows of a term. Which terms and which rows are a lane's is free, as long as the former are the
/// same for both factors.
#[cube]
fn take(slabs: &Slabs, from: usize, #[comptime] layout: Contiguous) -> Factor {
    let mut taken = Factor::new(VECTOR * VECTOR);
    let step = comptime!((if layout == Contiguous::Summed { SLAB } else { CUBE }) / VECTOR);
    #[unroll]
    for i in 0..VECTOR {
        let vector = slabs[from + i * step];
        #[unroll]
        for j in 0..VECTOR {
            taken[i * VECTOR + j] = Vector::new(vector[j]);
        }
    }
    taken
}

/// Where a number is in what [`take`] gives.
fn at(kept: usize, term: usize, layout: Contiguous) -> usize {
    if layout == Contiguous::Summed { kept * VECTOR + term } else { term * VECTOR + kept }
}

/// sums += the product of half a slab of each factor, from which a lane takes what begins at a vector.
#[cube]
fn multiply_slabs(
    a_slabs: &Slabs,
    b_slabs: &Slabs,
    a_from: usize,
    b_from: usize,
    sums: &mut Sequence<Tile>,
    #[comptime] plan: Plan,
) {
    let (down, across) = comptime!((INSTRUCTIONS[0], INSTRUCTIONS[1]));
    let (a_layout, b_layout) = comptime!((plan.layouts[0], plan.layouts[1]));
    let rows = take(a_slabs, a_from, a_layout);
    let columns = take(b_slabs, b_from, b_layout);
    #[unroll]
    for pair in 0..2usize {
        let (one, two) = (2 * pair, 2 * pair + 1);
        #[unroll]
        for i in 0..down {
            let mut a = Factor::new(4usize);
            a[0] = rows[comptime!(at(2 * i, one, a_layout))];
            a[1] = rows[comptime!(at(2 * i + 1, one, a_layout))];
            a[2] = rows[comptime!(at(2 * i, two, a_layout))];
            a[3] = rows[comptime!(at(2 * i + 1, two, a_layout))];
            #[unroll]
            for j in 0..across {
                let mut b = Factor::new(2usize);
                b[0] = columns[comptime!(at(j, one, b_layout))];
                b[1] = columns[comptime!(at(j, two, b_layout))];
                add_product(&a, &b, sums.index_mut(i * across + j));
            }
        }
    }
}

/// The part of a product that a plane makes, from a row and a column of its cube on.
#[cube]
fn sum_slabs(
    a: &Vectors,
    b: &Vectors,
    a_share: &Share,
    b_share: &Share,
    corner: (usize, usize),
    terms: usize,
    #[comptime] plan: Plan,
) -> Sequence<Tile> {
    let (a_layout, b_layout) = comptime!((plan.layouts[0], plan.layouts[1]));
    let (a_places, b_places) = (places(corner.0, a_layout), places(corner.1, b_layout));
    let len = CUBE * SLAB / VECTOR;
    let (mut a_slabs, mut b_slabs) = (Slabs::new_aligned(2 * len, 16usize), Slabs::new_aligned(2 * len, 16usize));
    let mut sums = zeros(comptime!(INSTRUCTIONS[0] * INSTRUCTIONS[1]));
    put(&bring(a, a_share, 0usize, terms), &mut a_slabs, a_share, 0usize);
    put(&bring(b, b_share, 0usize, terms), &mut b_slabs, b_share, 0usize);
    sync_cube();
    let count = terms.div_ceil(SLAB);
    for slab in 1..count {
        let (now, next) = ((slab - 1) % 2 * len, slab % 2 * len);
        let a_brought = bring(a, a_share, slab, terms - slab * SLAB);
        let b_brought = bring(b, b_share, slab, terms - slab * SLAB);
        multiply_slabs(&a_slabs, &b_slabs, now + a_places.0, now + b_places.0, &mut sums, plan);
        multiply_slabs(&a_slabs, &b_slabs, now + a_places.1, now + b_places.1, &mut sums, plan);
        put(&a_brought, &mut a_slabs, a_share, next);
        put(&b_brought, &mut b_slabs, b_share, next);
        sync_cube();
    }
    let last = (count - 1) % 2 * len;
    multiply_slabs(&a_slabs, &b_slabs, last + a_places.0, last + b_places.0, &mut sums, plan);
    multiply_slabs(&a_slabs, &b_slabs, last + a_places.1, last + b_places.1, &mut sums, plan);
    sums
}

/// Writes four neighbouring numbers of a product.
#[cube]
fn end(
    sums: Vector<f32, Const<4>>,
    at: usize,
    column: usize,
    bias: &Array<Vector<f32, Const<4>>>,
    other: &Array<Vector<f32, Const<4>>>,
    product: &mut Array<Vector<f32, Const<4>>>,
    active: &mut Array<Vector<f32, Const<4>>>,
    #[comptime] ending: Ending,
) {
    if comptime!(ending == Ending::Bias) {
        product[at] = sums + bias[column];
    } else if comptime!(ending == Ending::Sum) {
        product[at] = sums + other[at] + bias[column];
    } else if comptime!(ending == Ending::GeluGradient) {
        let x = other[at] + bias[column];
        let mut slopes = Vector::<f32, Const<4>>::empty();
        #[unroll]
        for i in 0..VECTOR {
            slopes[i] = gelu_slope(x[i]);
        }
        product[at] = sums * slopes;
    } else {
        product[at] = sums;
        if comptime!(ending == Ending::Gelu) {
            let x = sums + bias[column];
            let mut gelus = Vector::<f32, Const<4>>::empty();
            #[unroll]
            for i in 0..VECTOR {
                gelus[i] = gelu(x[i]);
            }
            active[at] = gelus;
        }
    }
}

/// a b, for every one of several pairs of matrices, and its [`Ending`], which is for one pair. What an ending does not
/// need is not touched.
///
/// # Shapes
/// `[pairs, rows, terms]` and `[pairs, terms, columns]` to `[pairs, rows, columns]`, as `other` and `active`; the
/// contiguous index of each a multiple of four.
#[cube(launch_unchecked)]
pub(super) fn multiply(
    a: &Array<Vector<f32, Const<4>>>,
    b: &Array<Vector<f32, Const<4>>>,
    bias: &Array<Vector<f32, Const<4>>>,
    other: &Array<Vector<f32, Const<4>>>,
    product: &mut Array<Vector<f32, Const<4>>>,
    active: &mut Array<Vector<f32, Const<4>>>,
    rows: u32,
    columns: u32,
    terms: u32,
    #[comptime] plan: Plan,
) {
    let (rows, columns, terms) = (rows as usize, columns as usize, terms as usize);
    let (down, across) = comptime!((INSTRUCTIONS[0], INSTRUCTIONS[1]));
    let (a_layout, b_layout) = comptime!((plan.layouts[0], plan.layouts[1]));
    let (pair, plane) = (CUBE_POS_Z as usize, UNIT_POS_Y as usize);
    let (a_from, b_from) = (CUBE_POS_Y as usize * CUBE, CUBE_POS_X as usize * CUBE);
    let corner = (plane % PLANES * PLANE, plane / PLANES * PLANE);
    let a_share = share(pair * rows * terms / VECTOR, a_from, rows, terms, a_layout);
    let b_share = share(pair * columns * terms / VECTOR, b_from, columns, terms, b_layout);
    let sums = sum_slabs(a, b, &a_share, &b_share, corner, terms, plan);
    // A lane's columns are eight neighbours: four of every first, and four of every second number of a tile.
    #[unroll]
    for i in 0..down {
        #[unroll]
        for half in 0..2usize {
            let row = a_from + corner.0 + UNIT_POS_X as usize / 4 * VECTOR + 2 * i + half;
            #[unroll]
            for side in 0..2usize {
                let column = b_from + corner.1 + (UNIT_POS_X as usize % 4 * 2 + side) * VECTOR;
                if row < rows && column < columns {
                    let mut sum = Vector::<f32, Const<4>>::empty();
                    #[unroll]
                    for j in 0..across {
                        sum[j] = sums.index(i * across + j)[half][side];
                    }
                    let at = ((pair * rows + row) * columns + column) / VECTOR;
                    end(sum, at, column / VECTOR, bias, other, product, active, plan.ending);
                }
            }
        }
    }
}
