//! Two directions that states are projected to, found once.

use nalgebra::{DMatrix, DVector, RowDVector};

use crate::measurements::principal_axes;

/// Two directions through a point.
#[derive(Clone, Debug)]
pub(super) struct Axes {
    origin: RowDVector<f64>,
    directions: [DVector<f64>; 2],
}

/// States on the axes.
pub(super) struct OnAxes {
    /// Coordinates of every state.
    pub(super) points: Vec<[f64; 2]>,
    /// Share of the variance of the states along each axis, 0 to 1.
    pub(super) shares: [f64; 2],
}

impl Axes {
    /// The first two principal components of `[n, d]` states.
    pub(super) fn of(states: &DMatrix<f64>) -> Self {
        let origin = states.row_mean();
        Self { directions: principal_axes(&less(states, &origin)).0, origin }
    }

    /// Projects `[n, d]` states.
    pub(super) fn project(&self, states: &DMatrix<f64>) -> OnAxes {
        let from_origin = less(states, &self.origin);
        let [first, second] = self.directions.each_ref().map(|direction| &from_origin * direction);
        let total = less(states, &states.row_mean()).norm_squared();
        let share = |along: &DVector<f64>| {
            let mean = along.mean();
            let spread: f64 = along.iter().map(|value| (value - mean).powi(2)).sum();
            if total > 0.0 { spread / total } else { 0.0 }
        };
        let shares = [share(&first), share(&second)];
        OnAxes { points: first.iter().zip(&second).map(|(&x, &y)| [x, y]).collect(), shares }
    }
}

/// States around their mean, in units of the root mean square of their distances from it: what is left of a layer when its
/// mean and its scale, which grow from layer to layer, are taken out.
pub(super) fn standardised(states: &DMatrix<f64>) -> DMatrix<f64> {
    let centred = less(states, &states.row_mean());
    let spread = (centred.norm_squared() / centred.nrows() as f64).sqrt();
    if spread > 0.0 { centred / spread } else { centred }
}

fn less(states: &DMatrix<f64>, point: &RowDVector<f64>) -> DMatrix<f64> {
    let mut moved = states.clone();
    moved.row_iter_mut().for_each(|mut row| row -= point);
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long along the first coordinate, shorter along the second, nothing along the third.
    fn states(shift: f64) -> DMatrix<f64> {
        DMatrix::from_fn(40, 3, |i, j| {
            let angle = i as f64 * std::f64::consts::TAU / 40.0;
            shift + [3.0 * angle.cos(), angle.sin(), 0.0][j]
        })
    }

    #[test]
    fn what_moves_along_an_axis_moves_in_the_plane_and_what_moves_across_does_not() {
        let axes = Axes::of(&states(2.0));
        let points = |states: &DMatrix<f64>| axes.project(states).points;
        let moved = |coordinate: usize| {
            let mut moved = states(2.0);
            moved.column_mut(coordinate).add_scalar_mut(5.0);
            moved
        };
        for (before, after) in points(&states(2.0)).iter().zip(points(&moved(0))) {
            assert!(((after[0] - before[0]).abs() - 5.0).abs() < 1e-9 && (after[1] - before[1]).abs() < 1e-9);
        }
        for (before, after) in points(&states(2.0)).iter().zip(points(&moved(2))) {
            assert!((after[0] - before[0]).abs() < 1e-9 && (after[1] - before[1]).abs() < 1e-9);
        }
        let [first, second] = axes.project(&states(0.0)).shares;
        assert!((first - 0.9).abs() < 1e-9 && (second - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_layer_that_is_shifted_and_scaled_is_the_same_when_standardised() {
        let scaled = states(7.0) * 100.0;
        assert!((standardised(&scaled) - standardised(&states(0.0))).norm() < 1e-9);
        assert_eq!(standardised(&DMatrix::from_element(3, 2, 4.0)), DMatrix::zeros(3, 2));
    }
}
