//! Probes: readers that guess the concept of a prompt from its hidden state.

use std::fmt::Debug;

use nalgebra::DMatrix;

mod knn;

pub use knn::Knn;

/// Guesses the label of every state from the others.
///
/// A probe must never let a state's own label take part in the guess for it.
pub trait Probe: Debug + Send + Sync {
    /// Name in tables.
    fn name(&self) -> &str;

    /// Guesses for every state, once for each labelling, so that what does not depend on labels is done once.
    ///
    /// # Shapes
    /// states `[n, d_model]`, every labelling and every answer `[n]`
    fn guess(&self, states: &DMatrix<f64>, labellings: &[&[usize]]) -> Vec<Vec<usize>>;
}
