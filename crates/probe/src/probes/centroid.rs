//! Nearest centroid.

use nalgebra::{DMatrix, DVector, DVectorView};

use crate::ProbeKind;

use super::{Guess, Probe, States, n_labels};

/// Leave-one-out nearest centroid: a state gets the label whose other members' mean is nearest.
///
/// It reads concepts that differ in their mean state, whatever their size. Two distances tie when
/// they differ by less than 1e-12 of the largest squared norm.
///
/// # Source
/// Euclidean distance on the states as they are, as scikit-learn's `NearestCentroid`, fitted without the state.
#[derive(Clone, Copy, Debug)]
pub struct Centroid;

impl Probe for Centroid {
    fn name(&self) -> &str {
        ProbeKind::Centroid.name()
    }

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<Guess>> {
        let largest = states.rows().row_iter().map(|state| state.norm_squared()).fold(0.0, f64::max);
        let guess = |labels: &&[usize]| {
            let nearness = -match states.wide() {
                true => of_products(states.products(), labels),
                false => of_features(states.rows(), labels),
            };
            let of_state =
                |(scores, &own): (DVectorView<'_, f64>, &usize)| Guess::among(scores.as_slice(), own, largest);
            nearness.column_iter().zip(*labels).map(of_state).collect()
        };
        labellings.iter().map(guess).collect()
    }
}

/// Squared distance of every state to the mean of every label without the state, `[labels, n]`; infinite to a label that
/// no other state has, which cannot be guessed.
fn of_features(rows: &DMatrix<f64>, labels: &[usize]) -> DMatrix<f64> {
    // One state a column, which is contiguous.
    let columns = rows.transpose();
    let mut sums = vec![DVector::zeros(columns.nrows()); n_labels(labels)];
    let mut members = vec![0usize; sums.len()];
    for (state, &label) in columns.column_iter().zip(labels) {
        sums[label] += state;
        members[label] += 1;
    }
    DMatrix::from_fn(sums.len(), labels.len(), |label, i| {
        let (state, itself) = (columns.column(i), usize::from(label == labels[i]));
        match members[label] - itself {
            0 => f64::INFINITY,
            others => {
                let centroid = (&sums[label] - state * itself as f64) / others as f64;
                (centroid - state).norm_squared()
            }
        }
    })
}

/// The same from inner products: with c the mean of m states, |x − c|² is the mean of |x − x_j|² less half the mean of
/// |x_j − x_k|² over all j and k. Distances of states that are equal are exactly 0, so that ties stay ties.
fn of_products(products: &DMatrix<f64>, labels: &[usize]) -> DMatrix<f64> {
    let squares = products.diagonal();
    let mut members = vec![0usize; n_labels(labels)];
    // Sums of squared distances: of a label's states to every state, and to each other.
    let mut to = DMatrix::<f64>::zeros(members.len(), labels.len());
    let mut within = vec![0.0; members.len()];
    for (i, &own) in labels.iter().enumerate() {
        for (j, &label) in labels.iter().enumerate() {
            to[(label, i)] += squares[i] + squares[j] - 2.0 * products[(j, i)];
        }
        members[own] += 1;
        within[own] += to[(own, i)];
    }
    DMatrix::from_fn(members.len(), labels.len(), |label, i| {
        let (to, itself) = (to[(label, i)], usize::from(label == labels[i]));
        match members[label] - itself {
            0 => f64::INFINITY,
            others => {
                let others = others as f64;
                to / others - (within[label] - 2.0 * itself as f64 * to) / (2.0 * others * others)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::probes::guessed;

    #[test]
    fn a_state_does_not_pull_its_own_centroid() {
        // Of the two 0s the second is nearer to the 1s than to the first; with itself its centroid would be at 3.
        let states = States::new(DMatrix::from_column_slice(4, 1, &[0.0, 6.0, 10.0, 11.0]));
        assert_eq!(guessed(&Centroid, &states, &[0, 0, 1, 1]), [0, 1, 1, 1]);
    }

    #[test]
    fn a_label_of_one_state_is_never_guessed() {
        let states = States::new(DMatrix::from_column_slice(3, 1, &[0.0, 1.0, 1.5]));
        assert_eq!(guessed(&Centroid, &states, &[0, 0, 2]), [0, 2, 0]);
    }

    #[test]
    fn inner_products_give_what_features_give() {
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        let labels: Vec<usize> = (0..20).map(|i| i / 6).collect();
        for d in [1, 19, 20, 21, 300] {
            let rows = DMatrix::from_fn(20, d, |_, _| rng.random::<f64>() - 0.5);
            let [features, products] = [of_features(&rows, &labels), of_products(&(&rows * rows.transpose()), &labels)];
            assert!((features - products).amax() < 1e-12, "{d} features");
        }
    }
}
