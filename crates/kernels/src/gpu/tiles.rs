//! Tiles of sixteen rows and eight columns, of which every lane of a plane holds four numbers, for attention on tensor cores.
//!
//! Which number of a head is which term of a sum, or which column of a product, is free as long as both factors agree. It
//! is chosen such that every lane reads and writes whole vectors.

use cubecl::prelude::*;

use super::attention::Heads;
use super::tensor_cores::{Factor, INSTRUCTION, Tile, add_product, group, member};

/// Rows of a tile.
pub(super) const ROWS: usize = INSTRUCTION[0];

/// Columns of a tile.
pub(super) const COLUMNS: usize = INSTRUCTION[1];

/// tile += a b
#[cube]
pub(super) fn multiply(a: &Factor, b_0: f32, b_1: f32, tile: &mut Tile) {
    let mut b = Factor::new(2usize);
    b[0] = Vector::cast_from(b_0);
    b[1] = Vector::cast_from(b_1);
    add_product(a, &b, tile);
}

/// One of a lane's two rows of a tile.
#[cube]
pub(super) fn lane_row(tile: usize, row: usize) -> usize {
    tile * ROWS + row * 8 + group()
}

#[cube]
pub(super) fn sum_of_four(value: f32) -> f32 {
    let pair = value + plane_shuffle_xor(value, 1u32);
    pair + plane_shuffle_xor(pair, 2u32)
}

#[cube]
pub(super) fn largest_of_four(value: f32) -> f32 {
    let pair = max(value, plane_shuffle_xor(value, 1u32));
    max(pair, plane_shuffle_xor(pair, 2u32))
}

/// scale · two rows, as the first factor of [`scores`].
#[cube]
pub(super) fn rows<N: Size>(
    from: &Array<Vector<f32, N>>,
    first: usize,
    second: usize,
    scale: f32,
    #[comptime] heads: Heads,
) -> Sequence<Factor> {
    let mut rows = Sequence::<Factor>::new();
    let n = N::value();
    #[unroll]
    for i in 0..comptime!(heads.d_head / 4 / n) {
        let at = i * 4 + member();
        let (upper, lower) = (from[first + at] * Vector::new(scale), from[second + at] * Vector::new(scale));
        #[unroll]
        for pair in 0..comptime!(n / 2) {
            let mut row = Factor::new(4usize);
            row[0] = Vector::cast_from(upper[2 * pair]);
            row[1] = Vector::cast_from(lower[2 * pair]);
            row[2] = Vector::cast_from(upper[2 * pair + 1]);
            row[3] = Vector::cast_from(lower[2 * pair + 1]);
            rows.push(row);
        }
    }
    rows
}

/// The products of the rows of a plane with one row for every column, that of this lane's column being `at`.
#[cube]
pub(super) fn scores<N: Size>(
    rows: &Sequence<Factor>,
    from: &Array<Vector<f32, N>>,
    at: usize,
    #[comptime] heads: Heads,
) -> Tile {
    let mut tile = Tile::new(2usize);
    tile[0] = Vector::new(0.0f32);
    tile[1] = Vector::new(0.0f32);
    let n = N::value();
    let (vectors, pairs) = comptime!((heads.d_head / 4 / n, n / 2));
    #[unroll]
    for i in 0..vectors {
        let row = from[at + i * 4 + member()];
        #[unroll]
        for pair in 0..pairs {
            multiply(rows.index(i * pairs + pair), row[2 * pair], row[2 * pair + 1], &mut tile);
        }
    }
    tile
}

/// sums += the rows at `first` and `second`, which belong to this lane's two columns of `weights`, and those of all other
/// lanes, by their weights.
#[cube]
pub(super) fn add_weighted<N: Size>(
    sums: &mut Sequence<Tile>,
    weights: &Tile,
    from: &Array<Vector<f32, N>>,
    first: usize,
    second: usize,
    #[comptime] heads: Heads,
) {
    let mut a = Factor::new(4usize);
    a[0] = Vector::cast_from(weights[0][0]);
    a[1] = Vector::cast_from(weights[1][0]);
    a[2] = Vector::cast_from(weights[0][1]);
    a[3] = Vector::cast_from(weights[1][1]);
    let n = N::value();
    let (vectors, n) = comptime!((heads.d_head / 8 / n, n));
    #[unroll]
    for i in 0..vectors {
        let at = i * 8 + group();
        let (upper, lower) = (from[first + at], from[second + at]);
        #[unroll]
        for j in 0..n {
            multiply(&a, upper[j], lower[j], sums.index_mut(i * n + j));
        }
    }
}

/// to = scale · this lane's share of one of its two rows of sums.
#[cube]
pub(super) fn store<N: Size>(
    to: &mut Array<Vector<f32, N>>,
    at: usize,
    sums: &Sequence<Tile>,
    scale: f32,
    #[comptime] row: usize,
    #[comptime] heads: Heads,
) {
    let n = N::value();
    let (vectors, n) = comptime!((heads.d_head / 8 / n, n));
    #[unroll]
    for i in 0..vectors {
        #[unroll]
        for column in 0..2usize {
            let mut vector = Vector::<f32, N>::empty();
            #[unroll]
            for j in 0..n {
                vector[j] = sums.index(i * n + j)[row][column] * scale;
            }
            to[at + i * 8 + 2 * member() + column] = vector;
        }
    }
}
