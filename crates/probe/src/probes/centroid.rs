//! Nearest centroid.

use crate::ProbeKind;

use super::{Probe, States, argmax, n_labels};

/// Leave-one-out nearest centroid: a state gets the label whose other members' mean is nearest.
///
/// It reads concepts that differ in their mean state, whatever their size; ties go to the lowest label.
///
/// # Source
/// Euclidean distance on the states as they are, as scikit-learn's `NearestCentroid`, fitted without the state.
#[derive(Clone, Copy, Debug)]
pub struct Centroid;

impl Probe for Centroid {
    fn name(&self) -> &str {
        ProbeKind::Centroid.name()
    }

    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<usize>> {
        // One state a column, which is contiguous.
        let columns = states.rows().transpose();
        let guess_all = |labels: &&[usize]| {
            let mut sums = vec![nalgebra::DVector::zeros(columns.nrows()); n_labels(labels)];
            let mut members = vec![0usize; sums.len()];
            for (state, &label) in columns.column_iter().zip(*labels) {
                sums[label] += state;
                members[label] += 1;
            }
            let nearest = |(i, &own): (usize, &usize)| {
                let state = columns.column(i);
                argmax((0..sums.len()).map(|label| {
                    let itself = usize::from(label == own);
                    match members[label] - itself {
                        // A label that no other state has cannot be guessed.
                        0 => f64::NEG_INFINITY,
                        others => {
                            let centroid = (&sums[label] - state * itself as f64) / others as f64;
                            -(centroid - state).norm_squared()
                        }
                    }
                }))
            };
            labels.iter().enumerate().map(nearest).collect()
        };
        labellings.iter().map(guess_all).collect()
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;

    #[test]
    fn a_state_does_not_pull_its_own_centroid() {
        // Of the two 0s the second is nearer to the 1s than to the first; with itself its centroid would be at 3.
        let states = States::new(DMatrix::from_column_slice(4, 1, &[0.0, 6.0, 10.0, 11.0]));
        assert_eq!(Centroid.guess(&states, &[&[0, 0, 1, 1]]), [[0, 1, 1, 1]]);
    }

    #[test]
    fn a_label_of_one_state_is_never_guessed() {
        let states = States::new(DMatrix::from_column_slice(3, 1, &[0.0, 1.0, 1.5]));
        assert_eq!(Centroid.guess(&states, &[&[0, 0, 2]]), [[0, 2, 0]]);
    }
}
