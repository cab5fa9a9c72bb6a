//! t-distributed Stochastic Neighbour Embedding.

use nalgebra::DMatrix;

use super::{principal_components, solve};
use crate::States;

/// Neighbours that a state has in effect: the default of scikit-learn.
const PERPLEXITY: f64 = 30.0;
/// One state, and more others than it has neighbours.
pub(super) const FEWEST_STATES: usize = 32;

/// Times that attraction is stronger in the beginning, so that groups find together.
const EXAGGERATION: f64 = 12.0;
/// Steps of gradient descent, in which p counts how often, and the share of a step that goes on in the next.
const PHASES: [(usize, f64, f64); 2] = [(250, EXAGGERATION, 0.5), (750, 1.0, 0.8)];

/// Brings states into a plane where neighbours stay neighbours: t-SNE, exact.
///
/// With d the distance and sᵢ such that the entropy of p(· | i) is ln 30,
///
/// p(j | i) ∝ exp(−d(i, j)² / sᵢ),   p = (p(j | i) + p(i | j)) / 2n,   and in the plane   q ∝ 1 / (1 + d²).
///
/// Gradient descent lowers Σ p ln(p / q) from the principal components on. Nothing is drawn at random.
///
/// # Shapes
/// `[n, d_model]` to `[n, 2]`
///
/// # Panics
/// With fewer than 32 states.
///
/// # Source
/// Van der Maaten and Hinton, JMLR 9, 2008, with the settings of scikit-learn's `TSNE`.
pub fn tsne(states: &States) -> Vec<[f64; 2]> {
    assert!(states.rows().nrows() >= FEWEST_STATES, "t-SNE needs at least {FEWEST_STATES} states");
    let affinities = affinities(states);
    let mut points = start(states);
    let rate = (points.len() as f64 / EXAGGERATION / 4.0).max(50.0);
    for (steps, exaggeration, momentum) in PHASES {
        let mut velocities = vec![[0.0; 2]; points.len()];
        let mut gains = vec![[1.0; 2]; points.len()];
        for _ in 0..steps {
            let gradient = gradient(&affinities, &points, exaggeration);
            for i in 0..points.len() {
                for axis in 0..2 {
                    let (velocity, gain, slope) = (&mut velocities[i][axis], &mut gains[i][axis], gradient[i][axis]);
                    // Faster where the direction stays, slower where it turns.
                    *gain = if *velocity * slope < 0.0 { *gain + 0.2 } else { (*gain * 0.8f64).max(0.01) };
                    *velocity = momentum * *velocity - rate * *gain * slope;
                    points[i][axis] += *velocity;
                }
            }
        }
    }
    points
}

/// The principal components, so small that no point repels another more than its fellows.
fn start(states: &States) -> Vec<[f64; 2]> {
    let points = principal_components(states.rows()).points;
    let spread = (points.iter().map(|point| point[0].powi(2)).sum::<f64>() / points.len() as f64).sqrt();
    let scale = if spread > 0.0 { 1e-4 / spread } else { 1.0 };
    points.into_iter().map(|point| point.map(|value| scale * value)).collect()
}

/// The probabilities p of every two states, `[n, n]`.
fn affinities(states: &States) -> DMatrix<f64> {
    let n = states.rows().nrows();
    let (products, squares) = (states.products(), states.products().diagonal());
    let mut conditional = DMatrix::zeros(n, n);
    for i in 0..n {
        let others = || (0..n).filter(|&j| j != i);
        let squared: Vec<f64> = others().map(|j| (squares[i] + squares[j] - 2.0 * products[(i, j)]).max(0.0)).collect();
        for (j, probability) in others().zip(probabilities(&squared)) {
            conditional[(i, j)] = probability;
        }
    }
    (&conditional + conditional.transpose()) / (2.0 * n as f64)
}

/// The probabilities p(j | i) of a state's neighbours from their squared distances.
fn probabilities(squared: &[f64]) -> Vec<f64> {
    // Only differences count, and they keep the largest weight at 1.
    let nearest = squared.iter().copied().fold(f64::INFINITY, f64::min);
    let weight = |squared: f64, width: f64| (-(squared - nearest) / width).exp();
    let entropy = |width: f64| {
        let (mut total, mut mean) = (0.0, 0.0);
        for &squared in squared {
            let weight = weight(squared, width);
            total += weight;
            mean += weight * (squared - nearest);
        }
        f64::ln(total) + mean / (width * total)
    };
    let width = solve(entropy, PERPLEXITY.ln());
    let total: f64 = squared.iter().map(|&squared| weight(squared, width)).sum();
    squared.iter().map(|&squared| weight(squared, width) / total).collect()
}

/// What all points do to one.
struct Forces {
    /// Towards them.
    pull: [f64; 2],
    /// Away from them, before it is divided by the sum of all `near`.
    push: [f64; 2],
    /// Σ 1 / (1 + d²), itself with 1 among them.
    near: f64,
}

/// The gradient of Σ p ln(p / q) by the points, with p times `exaggeration`.
fn gradient(affinities: &DMatrix<f64>, points: &[[f64; 2]], exaggeration: f64) -> Vec<[f64; 2]> {
    let on = |(i, point): (usize, &[f64; 2])| {
        let mut forces = Forces { pull: [0.0; 2], push: [0.0; 2], near: 0.0 };
        for (affinity, other) in affinities.column(i).iter().zip(points) {
            let difference = [point[0] - other[0], point[1] - other[1]];
            let near = 1.0 / (1.0 + difference[0].powi(2) + difference[1].powi(2));
            forces.near += near;
            for (axis, along) in difference.into_iter().enumerate() {
                forces.pull[axis] += affinity * near * along;
                forces.push[axis] += near * near * along;
            }
        }
        forces
    };
    let forces: Vec<Forces> = points.iter().enumerate().map(on).collect();
    let total = forces.iter().map(|forces| forces.near).sum::<f64>() - points.len() as f64;
    let slope = |forces: &Forces, axis: usize| 4.0 * (exaggeration * forces.pull[axis] - forces.push[axis] / total);
    forces.iter().map(|forces| [slope(forces, 0), slope(forces, 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 states on a spiral.
    fn spiral() -> States {
        let angle = |i: usize| 0.3 * i as f64;
        States::new(DMatrix::from_fn(40, 2, |i, j| angle(i) * if j == 0 { angle(i).cos() } else { angle(i).sin() }))
    }

    #[test]
    fn a_state_has_as_many_neighbours_as_the_perplexity_says() {
        let squared: Vec<f64> = (1..100).map(|i| f64::from(i).powi(2)).collect();
        let probabilities = probabilities(&squared);
        let entropy: f64 = probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        assert!((entropy.exp() - PERPLEXITY).abs() < 1e-6);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn probabilities_of_all_pairs_add_up_to_one() {
        let affinities = affinities(&spiral());
        assert!((affinities.sum() - 1.0).abs() < 1e-12 && affinities.trace() == 0.0);
        assert_eq!(affinities, affinities.transpose());
    }

    #[test]
    fn the_gradient_is_the_derivative_of_the_divergence() {
        // As many digits as a difference of this width leaves.
        const DIFFERENCE_TOLERANCE: f64 = 1e-8;
        let states = spiral();
        let p = affinities(&states);
        let points: Vec<[f64; 2]> = states.rows().row_iter().map(|row| [0.1 * row[0], 0.2 * row[1]]).collect();
        let divergence = |points: &[[f64; 2]]| {
            let near = |i: usize, j: usize| {
                1.0 / (1.0 + (points[i][0] - points[j][0]).powi(2) + (points[i][1] - points[j][1]).powi(2))
            };
            let pairs: Vec<(usize, usize)> =
                (0..40).flat_map(|i| (0..40).map(move |j| (i, j))).filter(|(i, j)| i != j).collect();
            let total: f64 = pairs.iter().map(|&(i, j)| near(i, j)).sum();
            pairs.iter().map(|&(i, j)| p[(i, j)] * (p[(i, j)] * total / near(i, j)).ln()).sum::<f64>()
        };
        let gradient = gradient(&p, &points, 1.0);
        for (i, axis) in [(0, 0), (7, 1), (39, 0)] {
            let moved = |by: f64| {
                let mut points = points.clone();
                points[i][axis] += by;
                divergence(&points)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[i][axis] - slope).abs() < DIFFERENCE_TOLERANCE, "{} {slope}", gradient[i][axis]);
        }
    }
}
