//! Products on tensor cores, with factors of TF32 and sums of f32.
//!
//! A cube makes one rectangle of the product, and goes along the sum a slab at a time: while its planes multiply one slab
//! out of shared memory, the next is on its way into registers. A unit brings four rows or columns by four terms, however
//! those lie in memory, and puts them as instructions take them: what a lane then reads it multiplies as it is.

use cubecl::cmma::MmaDefinition;
use cubecl::features::MmaConfig;
use cubecl::prelude::*;

use super::epilogue::{Epilogue, finish};
use super::tf32::{KEPT_BITS, LOSS};
use super::{F64_PRODUCTS, VECTOR};

/// Which index of a factor has its neighbours beside it in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Contiguous {
    /// The one that is summed over.
    Summed,
    /// The one that the product keeps.
    Kept,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    /// Of both factors.
    pub(super) layouts: [Contiguous; 2],
    /// Of the product.
    pub(super) epilogue: Epilogue,
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

const _: () = assert!(CUBE * SLAB == UNITS * VECTOR * VECTOR, "a unit brings four by four numbers of a slab");

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
    !F64_PRODUCTS && client.properties().features.matmul.mma.contains(&instruction)
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

/// Row or column of a lane within a tile.
#[cube]
pub(super) fn group() -> usize {
    UNIT_POS_X as usize / 4
}

/// Place of a lane among the four that share a row.
#[cube]
pub(super) fn member() -> usize {
    UNIT_POS_X as usize % 4
}

/// Which factor of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    /// The one with the product's rows.
    Rows,
    /// The one with its columns.
    Columns,
}

/// What a unit brings of every slab of a factor, four rows or columns by four terms: where it finds them and where it
/// puts them.
#[derive(CubeType)]
struct Share {
    /// Its vectors of the first slab.
    from: Array<usize>,
    /// Vectors from a slab to the next.
    step: usize,
    /// The first term of each, in a slab.
    terms: Array<usize>,
    /// The places in shared memory of those that it makes of them.
    to: Array<usize>,
}

/// Where in shared memory two terms of two rows are, in vectors, of which a pair of rows has sixteen: those that
/// neighbouring lanes write or read at once are in different banks.
#[cube]
fn row_place(rows: usize, terms: usize) -> usize {
    rows * (SLAB / 2) + (terms ^ (rows / 2 % 8) ^ (terms / 8))
}

/// Where in shared memory four terms of a column are, likewise; a column has eight vectors.
#[cube]
fn column_place(column: usize, terms: usize) -> usize {
    column * (SLAB / VECTOR) + (terms ^ (column / 4 % 2 * 4) ^ (column / 8 % 4))
}

/// A unit's share of a factor that begins at a vector, from a row or column on.
#[cube]
fn share(
    first: usize,
    begin: usize,
    kept: usize,
    terms: usize,
    #[comptime] layout: Contiguous,
    #[comptime] side: Side,
) -> Share {
    let (mut from, mut own_terms, mut to) = (Array::new(VECTOR), Array::new(VECTOR), Array::new(VECTOR));
    let mut step = kept * (SLAB / VECTOR);
    let (mut block, mut along) = (UNIT_POS as usize % (CUBE / VECTOR), UNIT_POS as usize / (CUBE / VECTOR));
    if comptime!(layout == Contiguous::Summed) {
        step = usize::cast_from(SLAB / VECTOR);
        block = UNIT_POS as usize / (SLAB / VECTOR);
        along = UNIT_POS as usize % (SLAB / VECTOR);
    }
    #[unroll]
    for i in 0..VECTOR {
        if comptime!(layout == Contiguous::Summed) {
            own_terms[i] = along * VECTOR;
            from[i] = first + (clamp_max(begin + block * VECTOR + i, kept - 1) * terms + along * VECTOR) / VECTOR;
        } else {
            own_terms[i] = along * VECTOR + i;
            from[i] = first + ((along * VECTOR + i) * kept + clamp_max(begin + block * VECTOR, kept - VECTOR)) / VECTOR;
        }
        if comptime!(side == Side::Rows) {
            to[i] = row_place(block * 2 + i / 2, along * 2 + i % 2);
        } else {
            to[i] = column_place(block * VECTOR + i, along);
        }
    }
    Share { from, step, terms: own_terms, to }
}

/// A unit's share of a slab, beyond the end of the sum zeros. So many terms are `left`.
#[cube]
fn bring(values: &Vectors, share: &Share, slab: usize, left: usize) -> Vectors {
    let mut brought = Vectors::new(VECTOR);
    #[unroll]
    for i in 0..VECTOR {
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
fn put(
    brought: &Vectors,
    slabs: &mut Slabs,
    share: &Share,
    first: usize,
    #[comptime] layout: Contiguous,
    #[comptime] side: Side,
) {
    let mut cut = Array::<Vector<tf32, Const<4>>>::new(VECTOR);
    #[unroll]
    for i in 0..VECTOR {
        let bits = Vector::<u32, Const<4>>::reinterpret(brought[i] * Vector::new(1.0 + LOSS));
        cut[i] = Vector::reinterpret(bits & Vector::new(KEPT_BITS));
    }
    #[unroll]
    for i in 0..VECTOR {
        let mut vector = Vector::<tf32, Const<4>>::empty();
        #[unroll]
        for j in 0..VECTOR {
            let (kept, term) =
                comptime!(if side == Side::Rows { (i / 2 * 2 + j % 2, i % 2 * 2 + j / 2) } else { (i, j) });
            let (which, place) = comptime!(if layout == Contiguous::Summed { (kept, term) } else { (term, kept) });
            vector[j] = cut[which][place];
        }
        let to = first + share.to[i];
        slabs[to] = vector;
    }
}

/// Where a lane finds what it multiplies: four neighbouring rows and columns, and four neighbouring terms of each half of a
/// slab. Which rows and which terms are a lane's is free, as long as the terms are the same for both factors.
#[derive(CubeType)]
struct Places {
    /// Of its first two rows, the first two terms and the two after them.
    rows: (usize, usize),
    /// Of its first column, the terms of the first half and those of the second.
    columns: (usize, usize),
}

#[cube]
fn places(corner: (usize, usize)) -> Places {
    let (row, column) = (corner.0 / 2 + 2 * group(), corner.1 + VECTOR * group());
    Places {
        rows: (row_place(row, 2 * member()), row_place(row, 2 * member() + 1)),
        columns: (column_place(column, member()), column_place(column, 4 + member())),
    }
}

/// sums += the product of a slab of each factor, which begins at a vector.
#[cube]
fn multiply_slab(a: &Slabs, b: &Slabs, first: usize, places: &Places, sums: &mut Sequence<Tile>) {
    let (one, two) = (first + places.rows.0, first + places.rows.1);
    multiply_half(a, b, (one, two), first + places.columns.0, sums);
    // Eight vectors on, the two have changed places.
    multiply_half(a, b, (two + 8, one + 8), first + places.columns.1, sums);
}

#[cube]
fn multiply_half(a_slabs: &Slabs, b_slabs: &Slabs, rows: (usize, usize), column: usize, sums: &mut Sequence<Tile>) {
    let (down, across) = comptime!((INSTRUCTIONS[0], INSTRUCTIONS[1]));
    #[unroll]
    for pair in 0..2usize {
        let mut row = rows.0;
        if comptime!(pair == 1) {
            row = rows.1;
        }
        #[unroll]
        for i in 0..down {
            let of_rows = a_slabs[row + i * (SLAB / 2)];
            let mut a = Factor::new(VECTOR);
            #[unroll]
            for k in 0..VECTOR {
                a[k] = Vector::new(of_rows[k]);
            }
            #[unroll]
            for j in 0..across {
                let of_column = b_slabs[column + j * (SLAB / VECTOR)];
                let mut b = Factor::new(2usize);
                b[0] = Vector::new(of_column[2 * pair]);
                b[1] = Vector::new(of_column[2 * pair + 1]);
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
    let places = places(corner);
    let len = CUBE * SLAB / VECTOR;
    let (mut a_slabs, mut b_slabs) = (Slabs::new_aligned(2 * len, 16usize), Slabs::new_aligned(2 * len, 16usize));
    let mut sums = zeros(comptime!(INSTRUCTIONS[0] * INSTRUCTIONS[1]));
    put(&bring(a, a_share, 0usize, terms), &mut a_slabs, a_share, 0usize, a_layout, Side::Rows);
    put(&bring(b, b_share, 0usize, terms), &mut b_slabs, b_share, 0usize, b_layout, Side::Columns);
    sync_cube();
    let count = terms.div_ceil(SLAB);
    for slab in 1..count {
        let (now, next) = ((slab - 1) % 2 * len, slab % 2 * len);
        let a_brought = bring(a, a_share, slab, terms - slab * SLAB);
        let b_brought = bring(b, b_share, slab, terms - slab * SLAB);
        multiply_slab(&a_slabs, &b_slabs, now, &places, &mut sums);
        put(&a_brought, &mut a_slabs, a_share, next, a_layout, Side::Rows);
        put(&b_brought, &mut b_slabs, b_share, next, b_layout, Side::Columns);
        sync_cube();
    }
    let last = (count - 1) % 2 * len;
    multiply_slab(&a_slabs, &b_slabs, last, &places, &mut sums);
    sums
}

/// a b, for every one of several pairs of matrices, and its [`Epilogue`], which is for one pair. What an epilogue does not
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
    let a_share = share(pair * rows * terms / VECTOR, a_from, rows, terms, a_layout, Side::Rows);
    let b_share = share(pair * columns * terms / VECTOR, b_from, columns, terms, b_layout, Side::Columns);
    let sums = sum_slabs(a, b, &a_share, &b_share, corner, terms, plan);
    // A lane's columns are eight neighbours: four of every first, and four of every second number of a tile.
    #[unroll]
    for i in 0..down {
        #[unroll]
        for half in 0..2usize {
            let row = a_from + corner.0 + group() * VECTOR + 2 * i + half;
            #[unroll]
            for side in 0..2usize {
                let column = b_from + corner.1 + (member() * 2 + side) * VECTOR;
                if row < rows && column < columns {
                    let mut sum = Vector::<f32, Const<4>>::empty();
                    #[unroll]
                    for j in 0..across {
                        sum[j] = sums.index(i * across + j)[half][side];
                    }
                    let at = ((pair * rows + row) * columns + column) / VECTOR;
                    finish(sum, at, column / VECTOR, bias, other, product, active, plan.epilogue);
                }
            }
        }
    }
}
