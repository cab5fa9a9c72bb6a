//! k nearest neighbours.

use crate::ProbeKind;

use super::{Probe, States, argmax, n_labels};

/// Leave-one-out k nearest neighbours by majority vote: the paper's Concept Decodability.
///
/// Neighbours are exact, by f64 matrix products. Among equally distant states the one with the lower index is nearer;
/// among labels with as many votes the lowest wins, as in scikit-learn.
///
/// # Source
/// Han et al., arXiv 2412.12276, which states N, k and the vote, but neither distance nor ties.
#[derive(Clone, Copy, Debug)]
pub struct Knn {
    /// Neighbours that vote, k; fewer than there are states.
    pub neighbours: usize,
    /// How far apart two states are.
    pub distance: Distance,
}

/// How far apart two states are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Euclidean, on the states as they are.
    Euclidean,
    /// One minus the cosine of the angle between the states.
    Cosine,
}

impl Probe for Knn {
    fn name(&self) -> &str {
        match self.distance {
            Distance::Euclidean => ProbeKind::Knn.name(),
            Distance::Cosine => ProbeKind::KnnCosine.name(),
        }
    }

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<usize>> {
        let neighbours = self.nearest(states);
        let vote = |labels: &&[usize]| neighbours.iter().map(|near| majority(near, labels)).collect();
        labellings.iter().map(vote).collect()
    }
}

impl Knn {
    /// Indices of the nearest other states of every state in any order, `[n][k]`.
    pub fn nearest(&self, states: &States) -> Vec<Vec<usize>> {
        let products = states.products();
        let squares = products.diagonal();
        let norms = squares.map(|square| if square > 0.0 { square.sqrt() } else { 1.0 });
        // Up to what is the same for all neighbours of a state.
        let distance = |i: usize, j: usize| match self.distance {
            Distance::Euclidean => squares[j] - 2.0 * products[(j, i)],
            Distance::Cosine => -products[(j, i)] / norms[j],
        };
        let nearest_to = |i: usize| {
            let others = (0..squares.len()).filter(|&j| j != i);
            let mut others: Vec<(f64, usize)> = others.map(|j| (distance(i, j), j)).collect();
            let nearer = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            others.select_nth_unstable_by(self.neighbours - 1, nearer);
            others[..self.neighbours].iter().map(|&(_, j)| j).collect()
        };
        (0..squares.len()).map(nearest_to).collect()
    }
}

fn majority(voters: &[usize], labels: &[usize]) -> usize {
    let mut votes = vec![0.0; n_labels(labels)];
    voters.iter().for_each(|&voter| votes[labels[voter]] += 1.0);
    argmax(votes.into_iter())
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;

    fn knn(neighbours: usize) -> Knn {
        Knn { neighbours, distance: Distance::Euclidean }
    }

    fn line(places: &[f64]) -> States {
        States::new(DMatrix::from_column_slice(places.len(), 1, places))
    }

    #[test]
    fn votes_of_a_case_small_enough_for_the_head() {
        // On a line: 0 1 2 | 10 11 12, and a stray 3 with the label of the right group.
        let states = line(&[0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 3.0]);
        let labels = [0, 0, 0, 1, 1, 1, 1];
        assert_eq!(knn(2).guess(&states, &[&labels]), [[0, 0, 0, 1, 1, 1, 0]]);
    }

    #[test]
    fn a_tie_goes_to_the_lowest_label() {
        let states = line(&[0.0, 1.0, -1.0]);
        assert_eq!(knn(2).guess(&states, &[&[5, 7, 3]])[0][0], 3);
    }

    #[test]
    fn a_state_does_not_vote_for_itself() {
        let states = line(&[0.0, 0.1, 0.2]);
        assert_eq!(knn(2).guess(&states, &[&[1, 0, 0]])[0][0], 0);
    }

    #[test]
    fn cosine_sees_directions_only() {
        let states = States::new(DMatrix::from_row_slice(4, 2, &[1.0, 0.0, 100.0, 1.0, 0.0, 1.0, 1.0, 100.0]));
        let cosine = Knn { neighbours: 1, distance: Distance::Cosine };
        assert_eq!(cosine.guess(&states, &[&[0, 0, 1, 1]]), [[0, 0, 1, 1]]);
    }
}
