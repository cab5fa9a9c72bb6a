//! Subspaces of the residual stream in which concepts differ.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use probe::States;

use super::Subspace;

/// Share of the mean variance that is added to every variance inside concepts: a direction in which nothing varies would else
/// count as the one that tells concepts apart best.
const SHRINKAGE: f64 = 1e-3;

/// The directions along which concepts differ most, the best first: orthonormal columns `[d_model, rank]`, or fewer where there
/// are no more. By their means alone, [`Subspace::Linear`], or by their covariances as well, [`Subspace::Quadratic`].
///
/// States are whitened by the mean covariance W inside concepts. There m_c is the mean of a concept less that over all and
/// V_c its covariance less the mean one; the directions are the first eigenvectors of the mean over concepts of m_c m_cᵀ, or
/// of m_c m_cᵀ + V_c².
///
/// # Source
/// By means: linear discriminants, Fisher (1936). By both: sliced inverse regression and sliced average variance estimation,
/// Li (1991) and Cook and Weisberg (1991), which the sum of the two matrices joins.
pub(super) fn discriminants(states: &States, labels: &[usize], subspace: Subspace, rank: usize) -> DMatrix<f64> {
    let (rows, n_concepts) = (states.rows(), labels.iter().max().map_or(0, |last| last + 1));
    let (d_model, covariances) = (rows.ncols(), subspace == Subspace::Quadratic);
    let overall = rows.row_mean();
    let moments = |concept: usize| {
        let members: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == concept).collect();
        let mut members = rows.select_rows(&members);
        let mean = members.row_mean();
        members.row_iter_mut().for_each(|mut row| row -= &mean);
        let covariance = members.transpose() * &members / members.nrows() as f64;
        ((mean - &overall).transpose(), covariance)
    };
    let moments: Vec<(DVector<f64>, DMatrix<f64>)> = (0..n_concepts).map(moments).collect();
    let mean_covariance = moments.iter().map(|(_, covariance)| covariance).sum::<DMatrix<f64>>() / n_concepts as f64;
    let mut within = mean_covariance.clone();
    let ridge = (SHRINKAGE * within.trace() / d_model as f64).max(f64::MIN_POSITIVE);
    within += DMatrix::identity(d_model, d_model) * ridge;
    let lower = within.cholesky().expect("a covariance with a ridge is positive definite").unpack();
    let whiten = |matrix: &DMatrix<f64>| lower.solve_lower_triangular(matrix).expect("its diagonal is positive");
    let mut differences = DMatrix::zeros(d_model, d_model);
    for (mean, covariance) in &moments {
        let mean = whiten(&DMatrix::from_columns(&[mean.column(0)]));
        differences += &mean * mean.transpose();
        if covariances {
            let beyond = whiten(&whiten(&(covariance - &mean_covariance)).transpose());
            differences += &beyond * &beyond;
        }
    }
    let eigen = SymmetricEigen::new(differences);
    let mut order: Vec<usize> = (0..d_model).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    // The means of C concepts, less their own, span C − 1 directions.
    let most = if covariances { d_model } else { (n_concepts - 1).min(d_model) };
    let whitened = eigen.eigenvectors.select_columns(&order[..rank.min(most)]);
    let read = lower.transpose().solve_upper_triangular(&whitened).expect("its diagonal is positive");
    orthonormal(read)
}

/// An orthonormal basis of what the columns span, the first of them spanning what the first columns do.
pub(super) fn orthonormal(columns: DMatrix<f64>) -> DMatrix<f64> {
    columns.qr().q()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::noise;

    /// Eigenvectors of matrices of sums over 400 states.
    const SAMPLE: f64 = 0.1;

    /// Two concepts in four coordinates: means differ in the second, variances in the third, and the fourth is loud.
    fn planted() -> (States, Vec<usize>) {
        let labels: Vec<usize> = (0..400).map(|i| i % 2).collect();
        let state = |i: usize, k: usize| {
            let (sign, value) = (2.0 * (i % 2) as f64 - 1.0, noise(4 * i + k));
            [value, value + 0.5 * sign, value * (2.0 + 1.8 * sign), 30.0 * value][k]
        };
        (States::new(DMatrix::from_fn(400, 4, state)), labels)
    }

    #[test]
    fn means_and_covariances_are_told_apart_from_loud_directions() {
        let (states, labels) = planted();
        let by_means = discriminants(&states, &labels, Subspace::Linear, 8);
        assert_eq!(by_means.ncols(), 1, "two means differ in one direction");
        assert!(by_means[(1, 0)].abs() > 1.0 - SAMPLE, "{by_means}");
        let by_both = discriminants(&states, &labels, Subspace::Quadratic, 2);
        for column in by_both.column_iter() {
            assert!(column[1].powi(2) + column[2].powi(2) > 1.0 - SAMPLE, "{by_both}");
        }
        assert!((by_both.transpose() * &by_both - DMatrix::identity(2, 2)).norm() < 1e-12);
    }
}
