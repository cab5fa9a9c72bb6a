//! Matrix products on slices: the only unsafe code of a CPU build, behind a checked interface.

use std::ops::Range;
use std::time::Instant;

use gemm::Parallelism;

use super::buffer::Buffer;
use crate::{Product, ProductInputs};

/// A matrix of f32 in a slice, with any strides: rows, columns, or a transpose of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    shape: Shape,
}

/// As [`Matrix`], to be written.
#[derive(Debug)]
pub(super) struct MatrixMut<'a> {
    data: &'a mut [f32],
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl Shape {
    /// Of a row-major matrix that fills `len` elements.
    fn row_major(len: usize, columns: usize) -> Self {
        assert!(columns > 0 && len.is_multiple_of(columns), "{len} elements are no rows of {columns}");
        Self { rows: len / columns, columns, row_stride: columns, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        let Self { rows, columns, row_stride, column_stride } = self;
        Self { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// That the last element is one of `len`.
    fn assert_within(self, len: usize) {
        let last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride;
        assert!(last < len, "element {last} of {len}");
    }

    fn with_columns(self, columns: &Range<usize>) -> Self {
        assert!(columns.start < columns.end && columns.end <= self.columns, "columns {columns:?} of {}", self.columns);
        Self { columns: columns.len(), ..self }
    }
}

impl<'a> Matrix<'a> {
    /// `[data.len() / columns, columns]`, row-major.
    pub(super) fn new(data: &'a [f32], columns: usize) -> Self {
        Self { data, shape: Shape::row_major(data.len(), columns) }
    }

    pub(super) fn transposed(self) -> Self {
        Self { shape: self.shape.transposed(), ..self }
    }

    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        let shape = self.shape.with_columns(&columns);
        Self { data: &self.data[columns.start * shape.column_stride..], shape }
    }

    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        self.transposed().columns(rows).transposed()
    }
}

impl<'a> MatrixMut<'a> {
    /// `[data.len() / columns, columns]`, row-major.
    pub(super) fn new(data: &'a mut [f32], columns: usize) -> Self {
        let shape = Shape::row_major(data.len(), columns);
        Self { data, shape }
    }

    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        let shape = self.shape.with_columns(&columns);
        Self { data: &mut self.data[columns.start * shape.column_stride..], shape }
    }

    /// self = left · right
    pub(super) fn set_product(self, left: Matrix<'_>, right: Matrix<'_>) {
        self.product(left, right, false);
    }

    /// self += left · right
    pub(super) fn add_product(self, left: Matrix<'_>, right: Matrix<'_>) {
        self.product(left, right, true);
    }

    fn product(self, left: Matrix<'_>, right: Matrix<'_>, accumulate: bool) {
        self.shape.assert_within(self.data.len());
        // SAFETY: the last element of `self` lies inside its slice, which holds numbers and is borrowed mutably.
        #[expect(unsafe_code, reason = "where the result lies was just checked")]
        unsafe {
            write_product(self.data.as_mut_ptr(), self.shape, left, right, accumulate);
        }
    }
}

/// x W, row-major.
pub(crate) fn product(product: Product, inputs: ProductInputs<&[f32]>) -> Vec<f32> {
    let Product { inputs: width, outputs, transposed } = product;
    let weight =
        if transposed { Matrix::new(inputs.weight, width).transposed() } else { Matrix::new(inputs.weight, outputs) };
    let len = inputs.x.len() / width * outputs;
    let mut found = Vec::with_capacity(len);
    // SAFETY: the vector has room for `len` elements, and a product that is not added to writes every one of them and
    // reads none.
    #[expect(unsafe_code, reason = "to clear memory that is written next takes as long as an activation does")]
    unsafe {
        let shape = Shape::row_major(len, outputs);
        write_product(found.as_mut_ptr(), shape, Matrix::new(inputs.x, width), weight, false);
        found.set_len(len);
    }
    found
}

/// to = left · right, or with `accumulate` to += left · right
///
/// # Safety
/// Memory of `shape` at `to` can be written and is nobody else's; with `accumulate` there are numbers in it.
#[expect(unsafe_code, reason = "the library's interface is raw pointers")]
unsafe fn write_product(to: *mut f32, shape: Shape, left: Matrix<'_>, right: Matrix<'_>, accumulate: bool) {
    let (a, b) = (left.shape, right.shape);
    assert_eq!((a.rows, a.columns, b.columns), (shape.rows, b.rows, shape.columns), "shapes of a product");
    a.assert_within(left.data.len());
    b.assert_within(right.data.len());
    let stride = |stride: usize| isize::try_from(stride).expect("a stride is shorter than its slice");
    // SAFETY: the shapes agree and the last element of each matrix lies inside its memory, so every access does; `to`
    // overlaps neither operand, and its elements are distinct because one of its strides is 1 and the other at least the
    // length along the first.
    unsafe {
        gemm::gemm(
            shape.rows,
            shape.columns,
            a.columns,
            to,
            stride(shape.column_stride),
            stride(shape.row_stride),
            accumulate,
            left.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            right.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The rate of the machine's matrix products: multiplications and additions a second of `[512, d] · [d, 4d]` when every
/// thread does them at once for some milliseconds, after one that is not timed.
pub fn products_per_second(d_model: usize) -> f64 {
    const TOKENS: usize = 512;
    let flops = (2 * TOKENS * d_model * 4 * d_model) as f64;
    let repeats = (5e8 / flops).ceil();
    let rates = rayon::broadcast(|_| {
        let [mut left, mut right] = [TOKENS * d_model, 4 * d_model * d_model].map(Buffer::new);
        let mut to = Buffer::new(TOKENS * 4 * d_model);
        left.fill(1.0);
        right.fill(1.0);
        let (left, right) = (Matrix::new(&left, d_model), Matrix::new(&right, 4 * d_model));
        MatrixMut::new(&mut to, 4 * d_model).set_product(left, right);
        let started = Instant::now();
        for _ in 0..repeats as usize {
            MatrixMut::new(&mut to, 4 * d_model).set_product(left, right);
        }
        repeats * flops / started.elapsed().as_secs_f64()
    });
    rates.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(left: &[f32], right: &[f32], [m, k, n]: [usize; 3], to: &mut [f32]) {
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            to[i * n + j] += (0..k).map(|l| left[i * k + l] * right[l * n + j]).sum::<f32>();
        }
    }

    fn integers(len: usize, step: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * step) % 7) as f32 - 3.0).collect()
    }

    fn transpose(data: &[f32], columns: usize) -> Vec<f32> {
        (0..columns).flat_map(|j| data.iter().skip(j).step_by(columns).copied()).collect()
    }

    /// Small integers make every sum exact, so the order of addition cannot matter.
    #[test]
    fn products_equal_the_three_loops_for_every_layout() {
        for [m, k, n] in [[1, 1, 1], [16, 16, 1], [1, 16, 48], [2, 16, 1], [3, 5, 2], [17, 16, 33], [40, 7, 19]] {
            let (a, b) = (integers(m * k, 3), integers(k * n, 5));
            let mut expected = integers(m * n, 2);
            naive(&a, &b, [m, k, n], &mut expected);
            let (a_t, b_t) = (transpose(&a, k), transpose(&b, n));
            for left in [Matrix::new(&a, k), Matrix::new(&a_t, m).transposed()] {
                for right in [Matrix::new(&b, n), Matrix::new(&b_t, k).transposed()] {
                    let mut found = integers(m * n, 2);
                    MatrixMut::new(&mut found, n).add_product(left, right);
                    assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn columns_are_views() {
        let (a, b) = (integers(6, 1), integers(8, 3));
        let mut found = vec![9.0; 12];
        // [3, 1] · [1, 2] into the middle of [3, 4].
        let (left, right) = (Matrix::new(&a, 2).columns(1..2), Matrix::new(&b[..4], 4).columns(2..4));
        MatrixMut::new(&mut found, 4).columns(1..3).set_product(left, right);
        let expected: Vec<f32> = (0..3).flat_map(|i| [9.0, a[2 * i + 1] * b[2], a[2 * i + 1] * b[3], 9.0]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    #[should_panic(expected = "shapes of a product")]
    fn wrong_shapes_are_refused() {
        MatrixMut::new(&mut [0.0; 4], 2).set_product(Matrix::new(&[0.0; 6], 3), Matrix::new(&[0.0; 4], 2));
    }
}
