//! Uniform Manifold Approximation and Projection.

use std::collections::BTreeMap;

use probe::{Distance, Knn, States};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::principal_components;

/// Neighbours of a state, itself among them, as umap-learn counts.
///
/// # Source
/// Han et al., arXiv 2412.12276.
const NEIGHBOURS: usize = 15;
/// Every state needs its neighbours, and one more to be told from them.
pub(super) const FEWEST_STATES: usize = NEIGHBOURS + 1;

/// The curve 1 / (1 + a d^2b) that is nearest to exp(0.1 − d), and to 1 below 0.1, for d between 0 and 3: the paper's
/// `min_dist` of 0.1 and umap-learn's `spread` of 1.
const A: f64 = 1.576_943;
const B: f64 = 0.895_061;

/// Passes over the graph: umap-learn's for less than 10,000 states.
const EPOCHS: usize = 500;
/// Points that each drawn edge pushes away: umap-learn's `negative_sample_rate`.
const PUSHES: usize = 5;

/// Brings states into a plane where neighbours stay neighbours: UMAP.
///
/// States are joined by a graph. With d the distance, ρᵢ that of the nearest state from i, and σᵢ such that the weights
/// of i add up to log₂ 15,
///
/// v(j | i) = exp(−max(0, d(i, j) − ρᵢ) / σᵢ) for the 14 nearest j,   v = v(j | i) + v(i | j) − v(j | i) v(i | j).
///
/// In the plane w = 1 / (1 + a d^2b) takes the place of v, and the points are moved to lower the cross-entropy
///
/// −Σ v ln w + (1 − v) ln(1 − w)
///
/// by stochastic steps from the principal components on: along an edge as often as it is strong, and away from 5 points
/// drawn at random each time. It goes edge by edge on one thread, for the result depends on the order.
///
/// # Shapes
/// `[n, d_model]` to `[n, 2]`
///
/// # Panics
/// With fewer than 16 states.
///
/// # Source
/// McInnes, Healy and Melville, arXiv 1802.03426, with the settings of umap-learn. Two things differ from that program:
/// it begins at the eigenvectors of the graph, and rounds 5 pushes an edge in another way.
pub fn umap(states: &States, rng: &mut impl Rng) -> Vec<[f64; 2]> {
    assert!(states.rows().nrows() >= FEWEST_STATES, "UMAP needs at least {FEWEST_STATES} states");
    let mut points = start(states, rng);
    let edges = edges(&graph(states));
    for epoch in 0..EPOCHS {
        let rate = 1.0 - epoch as f64 / EPOCHS as f64;
        for edge in edges.iter().filter(|edge| edge.is_drawn(epoch)) {
            let by = step(points[edge.from], points[edge.to], attraction);
            for axis in 0..2 {
                points[edge.from][axis] += rate * by[axis];
                points[edge.to][axis] -= rate * by[axis];
            }
            for _ in 0..PUSHES {
                // Its own place pushes nothing.
                let other = points[rng.random_range(0..points.len())];
                let by = step(points[edge.from], other, repulsion);
                (0..2).for_each(|axis| points[edge.from][axis] += rate * by[axis]);
            }
        }
    }
    points
}

/// The principal components, at most 5 from the origin, and a little noise that parts states which are the same.
fn start(states: &States, rng: &mut impl Rng) -> Vec<[f64; 2]> {
    let mut points = principal_components(states.rows()).points;
    let farthest = points.iter().flatten().fold(0.0, |most: f64, value| most.max(value.abs()));
    let scale = if farthest > 0.0 { 5.0 / farthest } else { 1.0 };
    let mut noise = || 1e-4 * rng.sample::<f64, _>(StandardNormal);
    points.iter_mut().flatten().for_each(|value| *value = scale * *value + noise());
    points
}

/// The weights v of the states that are joined, by the indices of both.
type Graph = BTreeMap<(usize, usize), f64>;

fn graph(states: &States) -> Graph {
    // A state as a column lies in one piece.
    let columns = states.rows().transpose();
    let distance = |i: usize, j: usize| {
        let pairs = columns.column(i).into_iter().zip(columns.column(j));
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    let others = Knn { neighbours: NEIGHBOURS - 1, distance: Distance::Euclidean };
    let mut directed = Graph::new();
    for (i, nearest) in others.nearest(states).into_iter().enumerate() {
        let distances: Vec<f64> = nearest.iter().map(|&j| distance(i, j)).collect();
        directed.extend(nearest.into_iter().map(|j| (i, j)).zip(memberships(&distances)));
    }
    let joined = |(&(i, j), &there): (&(usize, usize), &f64)| {
        let back = directed.get(&(j, i)).copied().unwrap_or(0.0);
        let weight = there + back - there * back;
        [((i, j), weight), ((j, i), weight)]
    };
    directed.iter().flat_map(joined).collect()
}

/// The weights v(j | i) of a state's neighbours from their distances.
fn memberships(distances: &[f64]) -> Vec<f64> {
    // As in umap-learn, where copies of the state itself do not count as nearest.
    let nearest = distances.iter().copied().filter(|&distance| distance > 0.0).fold(f64::INFINITY, f64::min);
    let beyond = || distances.iter().map(|distance| (distance - nearest).max(0.0));
    let weights = |width: f64| beyond().map(move |beyond| (-beyond / width).exp());
    let width = solve(|width| weights(width).sum(), (NEIGHBOURS as f64).log2());
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    // Many at the same distance would make the width vanish.
    weights(width.max(1e-3 * mean)).collect()
}

/// An edge of the graph in one of its two directions.
struct Edge {
    from: usize,
    to: usize,
    /// Divided by the largest.
    weight: f64,
}

/// All edges that are drawn at least once.
fn edges(graph: &Graph) -> Vec<Edge> {
    let strongest = graph.values().copied().fold(0.0, f64::max);
    let edges = graph.iter().map(|(&(from, to), weight)| Edge { from, to, weight: weight / strongest });
    edges.filter(|edge| edge.weight * EPOCHS as f64 >= 1.0).collect()
}

impl Edge {
    /// Whether this epoch is one of the weight's share of all epochs, evenly spread.
    fn is_drawn(&self, epoch: usize) -> bool {
        let times = |epoch: usize| (self.weight * epoch as f64).floor();
        times(epoch + 1) > times(epoch)
    }
}

/// How `point` moves along its difference from `other`: the difference times the force, but at most 4, as in umap-learn.
fn step(point: [f64; 2], other: [f64; 2], force: impl Fn(f64) -> f64) -> [f64; 2] {
    let difference = [point[0] - other[0], point[1] - other[1]];
    let force = force(difference[0].powi(2) + difference[1].powi(2));
    difference.map(|along| (force * along).clamp(-4.0, 4.0))
}

/// The derivative of ln w by the squared distance, twice.
fn attraction(squared: f64) -> f64 {
    if squared > 0.0 { -2.0 * A * B * squared.powf(B - 1.0) / (1.0 + A * squared.powf(B)) } else { 0.0 }
}

/// The derivative of ln(1 − w) by the squared distance, twice, and kept finite at 0 as in umap-learn.
fn repulsion(squared: f64) -> f64 {
    2.0 * B / ((0.001 + squared) * (1.0 + A * squared.powf(B)))
}

/// The positive number at which an increasing function has the value `target`.
///
/// Doubles until the number is passed, then halves the interval; 64 steps together are enough for an f64 of any usual
/// size, and end also where there is no such number.
fn solve(increasing: impl Fn(f64) -> f64, target: f64) -> f64 {
    let (mut low, mut high, mut number) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..64 {
        if increasing(number) < target {
            low = number;
        } else {
            high = number;
        }
        number = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * low };
    }
    number
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;

    #[test]
    fn solves_for_a_number_of_any_usual_size() {
        for number in [1e-9, 0.3, 1.0, 7.0, 1e9] {
            assert!((solve(|x| x, number) / number - 1.0).abs() < 1e-9);
        }
        assert!(solve(|x| x.min(2.0), 3.0) > 1e18, "there is none");
    }

    fn curve(distance: f64) -> f64 {
        1.0 / (1.0 + A * distance.powf(2.0 * B))
    }

    #[test]
    fn weights_of_a_state_add_up_to_the_logarithm_and_its_nearest_has_one() {
        let distances: Vec<f64> = (0..14).map(|i| 3.0 + 0.2 * f64::from(i)).collect();
        let weights = memberships(&distances);
        assert_eq!(weights[0], 1.0);
        assert!((weights.iter().sum::<f64>() - 15f64.log2()).abs() < 1e-9);
        assert!(weights.is_sorted_by(|near, far| near > far));
    }

    #[test]
    fn copies_and_equals_of_a_state_weigh_one() {
        assert_eq!(memberships(&[0.0; 14]), [1.0; 14]);
        assert_eq!(memberships(&[2.0; 14]), [1.0; 14]);
    }

    #[test]
    fn an_edge_is_as_strong_as_the_two_directions_together() {
        let states = States::new(DMatrix::from_fn(40, 2, |i, j| ((7 * i + 3 * j) % 40) as f64));
        let graph = graph(&states);
        for (&(i, j), weight) in &graph {
            assert!(i != j && (0.0..=1.0).contains(weight) && graph[&(j, i)] == *weight);
        }
        let strongest = |i: usize| graph.range((i, 0)..(i + 1, 0)).map(|(_, weight)| *weight).fold(0.0, f64::max);
        assert!((0..40).all(|i| (strongest(i) - 1.0).abs() < 1e-12), "every state has a nearest one");
    }

    #[test]
    fn a_strong_edge_is_drawn_as_often_as_its_weight_says() {
        for (weight, times) in [(1.0, 500), (0.5, 250), (0.3, 150), (0.002, 1)] {
            let edge = Edge { from: 0, to: 1, weight };
            assert_eq!((0..EPOCHS).filter(|&epoch| edge.is_drawn(epoch)).count(), times, "{weight}");
        }
    }

    #[test]
    fn the_curve_is_the_nearest_to_what_min_dist_asks_for() {
        let places = || (0..300).map(|i| 3.0 * f64::from(i) / 299.0);
        let wanted = |d: f64| if d < 0.1 { 1.0 } else { (0.1 - d).exp() };
        let miss =
            |a: f64, b: f64| -> f64 { places().map(|d| (1.0 / (1.0 + a * d.powf(2.0 * b)) - wanted(d)).powi(2)).sum() };
        for (a, b) in [(1e-4, 0.0), (-1e-4, 0.0), (0.0, 1e-4), (0.0, -1e-4)] {
            assert!(miss(A, B) < miss(A + a, B + b));
        }
    }

    #[test]
    fn forces_are_the_derivatives_of_the_cross_entropy() {
        // As many digits as a difference of this width leaves.
        const DIFFERENCE_TOLERANCE: f64 = 1e-6;
        let derivative = |of: &dyn Fn(f64) -> f64, at: f64| (of(at + 1e-5) - of(at - 1e-5)) / 2e-5;
        for distance in [0.5, 1.0, 3.0] {
            let force = |force: fn(f64) -> f64| force(distance * distance) * distance;
            let together = derivative(&|d| curve(d).ln(), distance);
            assert!((force(attraction) - together).abs() < DIFFERENCE_TOLERANCE);
            let apart = derivative(&|d| (1.0 - curve(d)).ln(), distance);
            let softened = distance * distance / (0.001 + distance * distance);
            assert!((force(repulsion) - softened * apart).abs() < DIFFERENCE_TOLERANCE);
        }
    }
}
