//! Inner products of states.

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

/// Adds the inner products of every two rows to the lower triangle of `products`, `[n, n]`; what is above changes as well.
pub(super) fn add_products(rows: &DMatrix<f64>, products: &mut DMatrix<f64>) {
    let (n, transposed) = (rows.nrows(), transposed(rows));
    // Of strips of columns all but what lies above them, which is half the work.
    let strips = n.div_ceil(STRIP);
    for strip in 0..strips {
        let [start, end] = [strip, strip + 1].map(|strip| strip * n / strips);
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
    fn half_of_the_work_changes_no_bit() {
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        for (n, d) in [(1, 1), (3, 300), (128, 5), (129, 40), (130, 6), (300, 3), (300, 70), (520, 600)] {
            let rows = DMatrix::from_fn(n, d, |_, _| rng.random::<f64>() - 0.5);
            assert_eq!(products(&rows), &rows * rows.transpose(), "{n} states of {d} features");
        }
    }
}
