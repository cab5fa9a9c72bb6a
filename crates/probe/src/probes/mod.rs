//! Probes: readers that guess the concept of a prompt from its hidden state.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::OnceLock;

use nalgebra::DMatrix;

use crate::{ProbeConfig, ProbeKind};

mod centroid;
mod folds;
mod knn;
mod linear;
#[cfg(test)]
mod planted;
mod products;
mod quadratic;

pub use centroid::Centroid;
pub use knn::{Distance, Knn};
pub use linear::Linear;
pub use quadratic::Quadratic;

use folds::{Fold, folds};

/// Guesses the label of every state from the others.
///
/// A probe must never let a state's own label take part in the guess for it.
pub trait Probe: Debug + Send + Sync {
    /// Name in tables.
    fn name(&self) -> &str;

    /// Guesses for every state, once for each labelling, so that what does not depend on labels is done once.
    ///
    /// # Shapes
    /// every labelling and every answer `[n]`
    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<usize>>;
}

/// The states of all concepts at one layer and token, and what several probes need of them.
#[derive(Clone, Debug)]
pub struct States {
    rows: DMatrix<f64>,
    products: OnceLock<DMatrix<f64>>,
    /// The folds of the first number of them that was asked for.
    folds: OnceLock<(usize, Vec<Fold>)>,
}

impl States {
    /// States as the rows of a matrix.
    ///
    /// # Shapes
    /// `[n, d_model]`
    pub fn new(rows: DMatrix<f64>) -> Self {
        Self { rows, products: OnceLock::new(), folds: OnceLock::new() }
    }

    /// The states, `[n, d_model]`.
    pub fn rows(&self) -> &DMatrix<f64> {
        &self.rows
    }

    /// Inner products of every two states, `[n, n]`; computed once, whoever asks.
    pub fn products(&self) -> &DMatrix<f64> {
        self.products.get_or_init(|| products::products(&self.rows))
    }

    /// Whether there are more features than states. Every probe then works with inner products, which are fewer numbers
    /// than the features and say as much.
    fn wide(&self) -> bool {
        self.rows.ncols() > self.rows.nrows()
    }

    /// The states split into `count` folds; computed once for all probes that want as many.
    fn folds(&self, count: usize) -> Cow<'_, [Fold]> {
        match self.folds.get_or_init(|| (count, folds(self, count))) {
            (kept, folds) if *kept == count => Cow::Borrowed(folds),
            _ => Cow::Owned(folds(self, count)),
        }
    }
}

/// The probes that the settings name, in their order.
pub fn probes(config: &ProbeConfig) -> Vec<Box<dyn Probe>> {
    config.probes.iter().map(|&kind| probe(kind, config)).collect()
}

fn probe(kind: ProbeKind, config: &ProbeConfig) -> Box<dyn Probe> {
    match kind {
        ProbeKind::Knn => Box::new(Knn { neighbours: config.neighbours, distance: Distance::Euclidean }),
        ProbeKind::KnnCosine => Box::new(Knn { neighbours: config.neighbours, distance: Distance::Cosine }),
        ProbeKind::Centroid => Box::new(Centroid),
        ProbeKind::Linear => Box::new(Linear { folds: config.folds, ridge: config.ridge }),
        ProbeKind::Quadratic => Box::new(Quadratic { folds: config.folds, shrinkage: config.shrinkage }),
    }
}

/// Labels a labelling may hold: one more than its largest.
fn n_labels(labels: &[usize]) -> usize {
    labels.iter().max().map_or(0, |most| most + 1)
}

/// Place of the largest score, the first among equals.
fn argmax(scores: impl Iterator<Item = f64>) -> usize {
    let larger = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
    scores.enumerate().fold((0, f64::NEG_INFINITY), larger).0
}

/// What every probe promises.
#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn every_probe() -> [Box<dyn Probe>; 5] {
        [
            Box::new(Knn { neighbours: 5, distance: Distance::Euclidean }),
            Box::new(Knn { neighbours: 5, distance: Distance::Cosine }),
            Box::new(Centroid),
            Box::new(Linear { folds: 4, ridge: 1.0 }),
            Box::new(Quadratic { folds: 4, shrinkage: 0.1 }),
        ]
    }

    fn noise(n: usize, d: usize) -> States {
        let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
        States::new(DMatrix::from_fn(n, d, |_, _| rng.random::<f64>() - 0.5))
    }

    #[test]
    fn a_label_takes_no_part_in_the_guess_for_its_own_state() {
        let states = noise(30, 3);
        let labels: Vec<usize> = (0..30).map(|i| i % 3).collect();
        for probe in every_probe() {
            let guesses = probe.guess(&states, &[&labels]).swap_remove(0);
            for i in 0..30 {
                let mut other = labels.clone();
                other[i] = (labels[i] + 1) % 3;
                assert_eq!(probe.guess(&states, &[&other])[0][i], guesses[i], "{} at {i}", probe.name());
            }
        }
    }

    #[test]
    fn labellings_are_guessed_each_by_itself() {
        let states = noise(24, 3);
        let [three, two]: [Vec<usize>; 2] = [3, 2].map(|labels| (0..24).map(|i| i % labels).collect());
        for probe in every_probe() {
            let together = probe.guess(&states, &[&three, &two]);
            let apart = [&three, &two].map(|labels| probe.guess(&states, &[labels]).swap_remove(0));
            assert_eq!(together, apart, "{}", probe.name());
        }
    }

    /// 30 states of 20 or 30 features are guessed from the features, those of more from inner products.
    #[test]
    fn features_that_are_always_zero_change_no_guess() {
        let (states, labels) = (noise(30, 20), Vec::from_iter((0..30).map(|i| i % 3)));
        for probe in every_probe() {
            let guesses = probe.guess(&states, &[&labels]);
            for d in [30, 31, 90] {
                let wider = States::new(states.rows().clone().resize_horizontally(d, 0.0));
                assert_eq!(probe.guess(&wider, &[&labels]), guesses, "{} of {d} features", probe.name());
            }
        }
    }

    /// As the embedding of a token with which every prompt ends. The first label is the more frequent one in every fold,
    /// and that of the states with the lowest indices.
    #[test]
    fn states_that_are_all_the_same_are_given_the_first_label() {
        let few = DMatrix::from_fn(12, 3, |_, j| j as f64);
        let many = DMatrix::from_fn(12, 40, |_, j| 1.0 / (j + 3) as f64);
        for states in [few, many].map(States::new) {
            for probe in every_probe() {
                let guesses = probe.guess(&states, &[&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]);
                assert_eq!(guesses, [[0; 12]], "{} of {} features", probe.name(), states.rows().ncols());
            }
        }
    }

    #[test]
    fn there_may_be_fewer_states_than_folds() {
        for (n, d) in [(1, 1), (1, 9), (2, 2), (2, 9), (3, 2), (3, 9)] {
            let (states, labels) = (noise(n, d), Vec::from_iter(0..n));
            for probe in &every_probe()[2..] {
                assert_eq!(probe.guess(&states, &[&labels])[0].len(), n, "{}", probe.name());
            }
        }
    }

    #[test]
    fn states_that_are_not_finite_are_guessed_all_the_same() {
        for value in [f64::NAN, f64::INFINITY, 0.0, f64::MAX] {
            for states in [3, 40].map(|d| States::new(DMatrix::from_element(12, d, value))) {
                for probe in every_probe() {
                    assert_eq!(probe.guess(&states, &[&[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]])[0].len(), 12);
                }
            }
        }
    }
}
