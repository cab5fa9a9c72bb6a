//! Principal components of hidden states.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// States in a plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// Coordinates of every state.
    pub points: Vec<[f64; 2]>,
    /// Share of the variance that each axis carries, 0 to 1; only principal components have axes of their own.
    pub explained: Option<[f64; 2]>,
}

/// Projects `[n, d]` states to the first two; every axis points to where its largest loading is positive.
pub fn principal_components(states: &DMatrix<f64>) -> Plane {
    let mut centred = states.clone();
    for mut column in centred.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    let ([first, second], explained) = principal_axes(&centred);
    let (first, second) = (&centred * first, &centred * second);
    let points = first.iter().zip(&second).map(|(&a, &b)| [a, b]).collect();
    Plane { points, explained: Some(explained) }
}

/// The directions in which `[n, d]` states around the origin spread most, and the share of the variance along each.
///
/// They are eigenvectors of the features' products with each other, or, where there are fewer states than features, sums of
/// states weighted by eigenvectors of the states' products, which are the smaller matrix.
pub(crate) fn principal_axes(centred: &DMatrix<f64>) -> ([DVector<f64>; 2], [f64; 2]) {
    let (n, d) = centred.shape();
    let wide = d > n;
    let products = if wide { centred * centred.transpose() } else { centred.transpose() * centred };
    let eigen = SymmetricEigen::new(products);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let total: f64 = eigen.eigenvalues.iter().map(|value| value.max(0.0)).sum();
    let axis = |rank: usize| {
        let Some(&index) = order.get(rank) else {
            return (DVector::zeros(d), 0.0);
        };
        let vector = eigen.eigenvectors.column(index);
        let axis = match wide {
            true => centred.tr_mul(&vector).try_normalize(0.0).unwrap_or_else(|| DVector::zeros(d)),
            false => vector.into_owned(),
        };
        let sign = if axis[axis.iamax()] < 0.0 { -1.0 } else { 1.0 };
        let share = if total > 0.0 { eigen.eigenvalues[index].max(0.0) / total } else { 0.0 };
        (axis * sign, share)
    };
    let ((first, first_share), (second, second_share)) = (axis(0), axis(1));
    ([first, second], [first_share, second_share])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_planted_plane() {
        // 3·cos and 1·sin along two orthogonal directions of three dimensions, off the origin.
        let angles: Vec<f64> = (0..100).map(|i| f64::from(i) * std::f64::consts::TAU / 100.0).collect();
        let states = DMatrix::from_fn(100, 3, |i, j| {
            5.0 + [0.6, 0.8, 0.0][j] * 3.0 * angles[i].cos() + [0.0, 0.0, 1.0][j] * angles[i].sin()
        });
        let found = principal_components(&states);
        let [first, second] = found.explained.unwrap();
        assert!((first - 0.9).abs() < 1e-12 && (second - 0.1).abs() < 1e-12);
        for (point, angle) in found.points.iter().zip(&angles) {
            assert!((point[0] - 3.0 * angle.cos()).abs() < 1e-9 && (point[1] - angle.sin()).abs() < 1e-9);
        }
    }

    #[test]
    fn features_that_are_always_zero_change_nothing() {
        let states = DMatrix::from_fn(5, 3, |i, j| ((3 * i + 5 * j) % 7) as f64 + 0.1 * (i * j) as f64);
        let narrow = principal_components(&states);
        let wide = principal_components(&states.resize_horizontally(9, 0.0));
        for (found, expected) in wide.points.iter().flatten().zip(narrow.points.iter().flatten()) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        let [found, expected] = [wide, narrow].map(|plane| plane.explained.unwrap());
        assert!((0..2).all(|axis| (found[axis] - expected[axis]).abs() < 1e-9));
    }

    #[test]
    fn states_that_are_all_the_same_have_no_spread() {
        assert_eq!(principal_components(&DMatrix::from_element(5, 4, 2.0)).explained, Some([0.0, 0.0]));
    }
}
