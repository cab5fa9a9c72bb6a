//! k nearest neighbours.

use crate::ProbeKind;

use super::{Guess, Probe, States, TIE, n_labels};

/// Leave-one-out k nearest neighbours by majority vote: the paper's Concept Decodability.
///
/// Neighbours are exact, by f64 matrix products. Without ties the guesses are scikit-learn's. Where distances tie at the
/// k-th place, all the tied neighbours share the votes that are left: every label gets of them in proportion to its tied
/// states over all of its states but the one that is guessed. Two distances tie when they differ by less than 1e-12 of the
/// largest squared norm of the states in question, or for cosines by less than 1e-12.
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

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<Guess>> {
        let neighbourhoods = self.neighbourhoods(states);
        let of_labels = |labels: &&[usize]| {
            let mut members = vec![0.0; n_labels(labels)];
            labels.iter().for_each(|&label| members[label] += 1.0);
            let vote =
                |(near, &own): (&Neighbourhood, &usize)| Guess::among(&near.votes(labels, own, &members), own, 1.0);
            neighbourhoods.iter().zip(*labels).map(vote).collect()
        };
        labellings.iter().map(of_labels).collect()
    }
}

impl Knn {
    /// Indices of the nearest other states of every state in any order, `[n][k]`; among states whose distances tie the
    /// first ones.
    pub fn nearest(&self, states: &States) -> Vec<Vec<usize>> {
        let chosen = |Neighbourhood { mut nearer, mut tied, votes_left }: Neighbourhood| {
            tied.sort_unstable();
            nearer.extend_from_slice(&tied[..votes_left]);
            nearer
        };
        self.neighbourhoods(states).into_iter().map(chosen).collect()
    }

    fn neighbourhoods(&self, states: &States) -> Vec<Neighbourhood> {
        let squares = states.squares();
        let norms: Vec<f64> = squares.iter().map(|&square| if square > 0.0 { square.sqrt() } else { 1.0 }).collect();
        let mut found = Vec::with_capacity(squares.len());
        states.for_each_products(|i, products| found.push(self.around(i, products, &squares, &norms)));
        found
    }

    /// The neighbourhood of state i, from its inner products with all states, their squared norms and their norms.
    fn around(&self, i: usize, products: &[f64], squares: &[f64], norms: &[f64]) -> Neighbourhood {
        // Up to what is the same for all neighbours of a state.
        let distance = |j: usize| match self.distance {
            Distance::Euclidean => squares[j] - 2.0 * products[j],
            Distance::Cosine => -products[j] / (norms[i] * norms[j]),
        };
        let scale = |j: usize| match self.distance {
            Distance::Euclidean => squares[i].max(squares[j]),
            Distance::Cosine => 1.0,
        };
        let others = (0..squares.len()).filter(|&j| j != i);
        let mut others: Vec<(f64, usize)> = others.map(|j| (distance(j), j)).collect();
        let nearer = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let (_, &mut (last, last_state), _) = others.select_nth_unstable_by(self.neighbours - 1, nearer);
        let ties = |&(distance, j): &(f64, usize)| {
            distance == last || (distance - last).abs() < TIE * scale(j).max(scale(last_state))
        };
        let (nearest, rest) = others.split_at(self.neighbours);
        let states = |which: &mut dyn Iterator<Item = &(f64, usize)>| which.map(|&(_, j)| j).collect::<Vec<_>>();
        let nearer = states(&mut nearest.iter().filter(|other| !ties(other)));
        let tied = states(&mut nearest.iter().chain(rest).filter(|other| ties(other)));
        Neighbourhood { votes_left: self.neighbours - nearer.len(), nearer, tied }
    }
}

/// The states that vote on one state.
struct Neighbourhood {
    /// Those with a vote each.
    nearer: Vec<usize>,
    /// Those that tie at the k-th place; at least as many as votes are left for them.
    tied: Vec<usize>,
    /// Votes that the tied ones share.
    votes_left: usize,
}

impl Neighbourhood {
    /// The votes for every label on a state whose own label is `own`, when a label has so many `members`.
    fn votes(&self, labels: &[usize], own: usize, members: &[f64]) -> Vec<f64> {
        let count = |states: &[usize]| {
            let mut counts = vec![0.0; members.len()];
            states.iter().for_each(|&state| counts[labels[state]] += 1.0);
            counts
        };
        let (mut votes, mut shares) = (count(&self.nearer), count(&self.tied));
        if self.tied.len() > self.votes_left {
            for (label, (share, members)) in shares.iter_mut().zip(members).enumerate() {
                *share /= (members - f64::from(u8::from(label == own))).max(1.0);
            }
            let all: f64 = shares.iter().sum();
            shares.iter_mut().for_each(|share| *share *= self.votes_left as f64 / all);
        }
        votes.iter_mut().zip(shares).for_each(|(votes, share)| *votes += share);
        votes
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;
    use crate::probes::{credits, guessed};

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
        assert_eq!(guessed(&knn(2), &states, &labels), [0, 0, 0, 1, 1, 1, 0]);
        // Of the neighbours of 2, 1 and 3, one is of either label.
        assert_eq!(credits(&knn(2), &states, &labels), [1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn labels_with_as_many_votes_share_the_credit_and_the_lowest_is_named() {
        let (states, labels) = (line(&[0.0, 1.0, -1.5, 9.0, -9.5]), [1, 2, 1, 2, 1]);
        assert_eq!(guessed(&knn(2), &states, &labels)[0], 1);
        assert_eq!(credits(&knn(2), &states, &labels)[0], 0.5);
        assert_eq!(credits(&knn(2), &states, &[0, 2, 1, 2, 1])[0], 0.0, "its own label is not among the tied");
    }

    #[test]
    fn neighbours_that_tie_at_the_last_place_share_what_is_left_of_the_votes() {
        // One at 1 and one at -1 for the last of two votes: half a vote for each of their labels, one of two states each.
        let labels = [0, 2, 0, 1, 1, 0, 0];
        let [first, second] =
            [[0.0, 0.5, 1.0, -1.0, 9.0, 8.0, 7.0], [0.0, 0.5, -1.0, 1.0, 9.0, 8.0, 7.0]].map(|places| {
                let near = &knn(2).neighbourhoods(&line(&places))[0];
                near.votes(&labels, 0, &[4.0, 2.0, 1.0])
            });
        // Of the three other states of label 0 one is tied, of the two of label 1 one: 1/3 to 1/2.
        assert!((first[0] - 0.4).abs() < 1e-15 && (first[1] - 0.6).abs() < 1e-15 && first[2] == 1.0, "{first:?}");
        assert_eq!(first, second, "whichever comes first");
    }

    #[test]
    fn a_state_does_not_vote_for_itself() {
        let states = line(&[0.0, 0.1, 0.2]);
        assert_eq!(guessed(&knn(2), &states, &[1, 0, 0])[0], 0);
    }

    #[test]
    fn cosine_sees_directions_only() {
        let states = States::new(DMatrix::from_row_slice(4, 2, &[1.0, 0.0, 100.0, 1.0, 0.0, 1.0, 1.0, 100.0]));
        let cosine = Knn { neighbours: 1, distance: Distance::Cosine };
        assert_eq!(guessed(&cosine, &states, &[0, 0, 1, 1]), [0, 0, 1, 1]);
    }

    #[test]
    fn rounding_does_not_break_a_tie() {
        // Equal but for rounding, far from the origin.
        let places: Vec<f64> = (0..9).map(|i| 1e8 * (1.0 + f64::EPSILON * f64::from(i % 3))).collect();
        assert_eq!(credits(&knn(4), &line(&places), &[0, 0, 0, 1, 1, 1, 2, 2, 2]), [1.0 / 3.0; 9]);
    }
}
