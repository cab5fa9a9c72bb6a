//! k nearest neighbours.

use nalgebra::DMatrix;
use run::Distance;

use crate::Probe;

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

impl Probe for Knn {
    fn name(&self) -> &str {
        "knn"
    }

    fn guess(&self, states: &DMatrix<f64>, labellings: &[&[usize]]) -> Vec<Vec<usize>> {
        let neighbours = self.nearest(states);
        let vote = |labels: &&[usize]| neighbours.iter().map(|near| majority(near, labels)).collect();
        labellings.iter().map(vote).collect()
    }
}

impl Knn {
    /// Indices of the nearest other states of every state, `[n][k]`.
    fn nearest(&self, states: &DMatrix<f64>) -> Vec<Vec<usize>> {
        let mut states = states.clone();
        if self.distance == Distance::Cosine {
            // On the unit sphere the squared Euclidean distance is twice the cosine distance.
            for mut row in states.row_iter_mut() {
                let norm = row.norm();
                row /= if norm > 0.0 { norm } else { 1.0 };
            }
        }
        let products = &states * states.transpose();
        let squares = products.diagonal();
        let nearest_to = |i: usize| {
            let distance = |j: usize| squares[j] - 2.0 * products[(j, i)];
            let mut others: Vec<(f64, usize)> =
                (0..states.nrows()).filter(|&j| j != i).map(|j| (distance(j), j)).collect();
            let nearer = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            others.select_nth_unstable_by(self.neighbours - 1, nearer);
            others[..self.neighbours].iter().map(|&(_, j)| j).collect()
        };
        (0..states.nrows()).map(nearest_to).collect()
    }
}

fn majority(voters: &[usize], labels: &[usize]) -> usize {
    let mut votes = vec![0usize; 1 + voters.iter().map(|&voter| labels[voter]).max().unwrap_or(0)];
    voters.iter().for_each(|&voter| votes[labels[voter]] += 1);
    let most = votes.iter().max().copied().unwrap_or(0);
    votes.iter().position(|&count| count == most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    fn knn(neighbours: usize) -> Knn {
        Knn { neighbours, distance: Distance::Euclidean }
    }

    #[test]
    fn votes_of_a_case_small_enough_for_the_head() {
        // On a line: 0 1 2 | 10 11 12, and a stray 3 with the label of the right group.
        let states = DMatrix::from_column_slice(7, 1, &[0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 3.0]);
        let labels = [0, 0, 0, 1, 1, 1, 1];
        assert_eq!(knn(2).guess(&states, &[&labels]), [[0, 0, 0, 1, 1, 1, 0]]);
    }

    #[test]
    fn a_tie_goes_to_the_lowest_label() {
        let states = DMatrix::from_column_slice(3, 1, &[0.0, 1.0, -1.0]);
        assert_eq!(knn(2).guess(&states, &[&[5, 7, 3]])[0][0], 3);
    }

    #[test]
    fn a_state_does_not_vote_for_itself() {
        let states = DMatrix::from_column_slice(3, 1, &[0.0, 0.1, 0.2]);
        assert_eq!(knn(2).guess(&states, &[&[1, 0, 0]])[0][0], 0);
    }

    #[test]
    fn cosine_sees_directions_only() {
        let states = DMatrix::from_row_slice(4, 2, &[1.0, 0.0, 100.0, 1.0, 0.0, 1.0, 1.0, 100.0]);
        let cosine = Knn { neighbours: 1, distance: Distance::Cosine };
        assert_eq!(cosine.guess(&states, &[&[0, 0, 1, 1]]), [[0, 0, 1, 1]]);
    }

    /// Accuracy on states that hold exactly w, under three concepts of rank 2, and x times `gain` beside it.
    fn planted(gain: f64) -> f64 {
        const PER_CONCEPT: usize = 100;
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        let labels: Vec<usize> = (0..3 * PER_CONCEPT).map(|i| i / PER_CONCEPT).collect();
        let mut states = DMatrix::zeros(labels.len(), 12);
        for (i, label) in labels.iter().enumerate() {
            for j in 0..2 {
                states[(i, 2 * label + j)] = StandardNormal.sample(&mut rng);
            }
            for j in 6..12 {
                let x: f64 = StandardNormal.sample(&mut rng);
                states[(i, j)] = gain * x;
            }
        }
        let guesses = knn(10).guess(&states, &[&labels]);
        labels.iter().zip(&guesses[0]).filter(|(label, guess)| label == guess).count() as f64 / labels.len() as f64
    }

    /// A state that holds the regression weights gives the concept away; a copy of the token beside them, of the same
    /// size, hides it from a vote by distance. So CD can stay low in a model that predicts as if it knew the concept.
    #[test]
    fn a_copy_of_the_token_hides_a_concept_that_is_there() {
        let [alone, small, equal] = [0.0, 0.5, 1.0].map(planted);
        assert!(alone > 0.97, "{alone}");
        assert!((0.80..0.94).contains(&small), "{small}");
        assert!((0.54..0.70).contains(&equal), "{equal}");
    }
}
