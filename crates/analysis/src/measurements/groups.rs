//! States in labelled groups.

use nalgebra::{DMatrix, DVector};
use probe::States;

/// How many states each group has, and their mean.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) members: Vec<f64>,
    /// `[d_model]` each.
    pub(super) means: Vec<DVector<f64>>,
}

impl Groups {
    /// The groups that `labels` make; every label from 0 to the largest has a state.
    ///
    /// # Shapes
    /// `states` `[n, d_model]`
    pub(super) fn of(states: &DMatrix<f64>, labels: &[usize]) -> Self {
        let groups = labels.iter().max().map_or(0, |most| most + 1);
        let mut members = vec![0.0; groups];
        labels.iter().for_each(|&label| members[label] += 1.0);
        let columns = states.transpose();
        let mut means = vec![DVector::zeros(columns.nrows()); groups];
        for (state, &label) in columns.column_iter().zip(labels) {
            means[label] += state / members[label];
        }
        Self { members, means }
    }

    /// The means as rows, `[groups, d_model]`.
    pub(super) fn mean_rows(&self) -> DMatrix<f64> {
        DMatrix::from_columns(&self.means).transpose()
    }

    /// Of every state the squared distance from the mean of its group.
    pub(super) fn squared_distances(&self, states: &States, labels: &[usize]) -> Vec<f64> {
        let columns = states.rows().transpose();
        columns.column_iter().zip(labels).map(|(state, &label)| (state - &self.means[label]).norm_squared()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_each_group() {
        let states = DMatrix::from_row_slice(4, 2, &[1.0, 2.0, 5.0, 0.0, 3.0, 4.0, 7.0, 2.0]);
        let groups = Groups::of(&states, &[0, 1, 0, 1]);
        assert_eq!(groups.members, [2.0, 2.0]);
        assert_eq!(groups.mean_rows(), DMatrix::from_row_slice(2, 2, &[2.0, 3.0, 6.0, 1.0]));
    }
}
