//! How far a map can be trusted.

use probe::States;

/// How few of the points that are near in a map are far among the states, at most 1.
///
/// T(k) = 1 − 2 / (n k (2n − 3k − 1)) Σᵢ Σⱼ (r(i, j) − k), where j runs over those of the k nearest points of i in the
/// map that are not among its k nearest states, and r(i, j) is the rank of j among the states by distance from i.
///
/// # Source
/// Venna and Kaski, ICANN 2001; as scikit-learn's `trustworthiness`.
pub(super) fn trustworthiness(states: &States, points: &[[f64; 2]], neighbours: usize) -> f64 {
    let n = points.len();
    let apart = |i: usize, j: usize| (states.rows().row(i) - states.rows().row(j)).norm();
    let apart_in_map = |i: usize, j: usize| (points[i][0] - points[j][0]).hypot(points[i][1] - points[j][1]);
    let mut excess = 0;
    for i in 0..n {
        let among_states = by_distance(n, i, |j| apart(i, j));
        let rank = |j: usize| 1 + among_states.iter().position(|&other| other == j).unwrap();
        let near_in_map = by_distance(n, i, |j| apart_in_map(i, j));
        excess += near_in_map[..neighbours].iter().map(|&j| rank(j).saturating_sub(neighbours)).sum::<usize>();
    }
    let (n, k) = (n as f64, neighbours as f64);
    1.0 - 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)) * excess as f64
}

/// All indices but `i`, the nearest first.
fn by_distance(n: usize, i: usize, distance: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut others: Vec<usize> = (0..n).filter(|&j| j != i).collect();
    others.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
    others
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;

    #[test]
    fn of_a_case_small_enough_for_the_head() {
        // States on a line; then the map brings the last to the first, so each is nearest to one that is of rank 4.
        let states = States::new(DMatrix::from_column_slice(5, 1, &[0.0, 1.0, 2.1, 3.3, 4.6]));
        let at = |places: [f64; 5]| places.map(|x| [x, 0.0]);
        assert_eq!(trustworthiness(&states, &at([0.0, 1.0, 2.1, 3.3, 4.6]), 1), 1.0);
        let moved = trustworthiness(&states, &at([0.0, 1.0, 2.1, 3.3, -0.5]), 1);
        assert!((moved - (1.0 - 2.0 / (5.0 * 6.0) * (3.0 + 3.0))).abs() < 1e-12, "{moved}");
    }
}
