//! States in labelled groups.

use nalgebra::DVector;
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
    pub(super) fn of(states: &States, labels: &[usize]) -> Self {
        let groups = labels.iter().max().map_or(0, |most| most + 1);
        let mut members = vec![0.0; groups];
        labels.iter().for_each(|&label| members[label] += 1.0);
        let columns = states.rows().transpose();
        let mut means = vec![DVector::zeros(columns.nrows()); groups];
        for (state, &label) in columns.column_iter().zip(labels) {
            means[label] += state / members[label];
        }
        Self { members, means }
    }

    /// Of every state the squared distance from the mean of its group.
    pub(super) fn squared_distances(&self, states: &States, labels: &[usize]) -> Vec<f64> {
        let columns = states.rows().transpose();
        columns.column_iter().zip(labels).map(|(state, &label)| (state - &self.means[label]).norm_squared()).collect()
    }
}
