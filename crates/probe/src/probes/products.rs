//! Inner products of states.

use std::ops::Range;

use nalgebra::{DMatrix, DMatrixView, Dyn};

/// Columns that are multiplied at a time.
const STRIP: usize = 128;

/// Inner products of every two rows, `[n, n]`.
pub(super) fn products(rows: &DMatrix<f64>) -> DMatrix<f64> {
    let mut products = DMatrix::zeros(rows.nrows(), rows.nrows());
    add_products(rows, &mut products);
    products.fill_upper_triangle_with_lower_triangle();
    products
}

/// Inner products of all rows with every row in turn, `[n]`, some rows at a time: as `products` gives them, without room for
/// them all.
pub(super) fn for_each_row(rows: &DMatrix<f64>, mut visit: impl FnMut(usize, &[f64])) {
    for strip in strips(rows.nrows()) {
        let products = rows * transposed(rows).columns(strip.start, strip.len());
        strip.zip(products.column_iter()).for_each(|(i, column)| visit(i, column.as_slice()));
    }
}

/// Squared norms of the rows, as they stand on the diagonal of `products`.
pub(super) fn squares(rows: &DMatrix<f64>) -> Vec<f64> {
    let mut squares = Vec::with_capacity(rows.nrows());
    for strip in strips(rows.nrows()) {
        let products = rows.rows(strip.start, strip.len()) * transposed(rows).columns(strip.start, strip.len());
        squares.extend_from_slice(products.diagonal().as_slice());
    }
    squares
}

/// Ranges of much the same length: a single row would be multiplied in another order.
fn strips(n: usize) -> impl Iterator<Item = Range<usize>> {
    let strips = n.div_ceil(STRIP);
    (0..strips).map(move |strip| strip * n / strips..(strip + 1) * n / strips)
}

/// Adds the inner products of every two rows to the lower triangle of `products`, `[n, n]`; what is above changes as well.
pub(super) fn add_products(rows: &DMatrix<f64>, products: &mut DMatrix<f64>) {
    let (n, transposed) = (rows.nrows(), transposed(rows));
    // Of strips of columns all but what lies above them, which is half the work.
    for Range { start, end } in strips(n) {
        let (below, width) = (n - start, end - start);
        let mut to = products.view_mut((start, start), (below, width));
        to.gemm(1.0, &rows.rows(start, below), &transposed.columns(start, width), 1.0);
    }
}

/// The transposed matrix, without a copy.
pub(super) fn transposed(rows: &DMatrix<f64>) -> DMatrixView<'_, f64, Dyn, Dyn> {
    let (n, d) = rows.shape();
    DMatrixView::from_slice_with_strides(rows.as_slice(), d, n, n, 1)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn half_of_the_work_and_some_rows_at_a_time_change_no_bit() {
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        for (n, d) in [(1, 1), (3, 300), (128, 5), (129, 40), (130, 6), (300, 3), (300, 70), (520, 600)] {
            let rows = DMatrix::from_fn(n, d, |_, _| rng.random::<f64>() - 0.5);
            let whole = &rows * rows.transpose();
            assert_eq!(products(&rows), whole, "{n} states of {d} features");
            assert_eq!(squares(&rows), whole.diagonal().as_slice(), "{n} states of {d} features");
            for_each_row(&rows, |i, row| assert_eq!(row, whole.column(i).as_slice(), "{n} states of {d} features"));
        }
    }
}
