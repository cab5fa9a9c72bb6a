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
    fn guess(&self, states: &States, labellings: &[&[usize]]) -> Vec<Vec<Guess>>;
}

/// What a probe makes of one state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The label with the largest score, the lowest of those that tie.
    pub label: usize,
    /// What the guess counts, 0 to 1: 1/m where the true label is among the m with the largest score, else 0. So a probe
    /// that knows nothing is right in the same share of cases for every label.
    pub credit: f64,
}

impl Guess {
    const NONE: Self = Self { label: 0, credit: 0.0 };

    /// From the score of every label, of which there is one or more; scores that differ by at most 1e-12 of `scale` tie.
    /// Where none is finite, all of them do.
    pub fn among(scores: &[f64], truth: usize, scale: f64) -> Self {
        let largest = scores.iter().copied().filter(|score| score.is_finite()).reduce(f64::max);
        let ties = |label: &usize| largest.is_none_or(|largest| (scores[*label] - largest).abs() <= TIE * scale);
        let tied: Vec<usize> = (0..scores.len()).filter(ties).collect();
        Self { label: tied[0], credit: if tied.contains(&truth) { 1.0 / tied.len() as f64 } else { 0.0 } }
    }
}

/// Mean credit of some guesses; not a number of none.
pub fn accuracy<'a>(guesses: impl IntoIterator<Item = &'a Guess>) -> f64 {
    let (credit, count) =
        guesses.into_iter().fold((0.0, 0.0), |(credit, count), guess| (credit + guess.credit, count + 1.0));
    credit / count
}

/// Numbers tie when they differ by less than this share of their scale.
const TIE: f64 = 1e-12;

/// States up to which [`States::for_each_products`] keeps the inner products of every two: 32 MiB.
pub const KEPT_PRODUCTS: usize = 2048;

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

    /// The states' squared norms, `[n]`.
    pub fn squares(&self) -> Vec<f64> {
        match self.keeps_products() {
            true => self.products().diagonal().as_slice().to_owned(),
            false => products::squares(&self.rows),
        }
    }

    fn keeps_products(&self) -> bool {
        self.rows.nrows() <= KEPT_PRODUCTS
    }

    /// Calls `visit` with every state's index and inner products with all states, `[n]`. Those of many states are computed
    /// as they are needed, by whoever asks, so that memory does not grow with their square.
    pub fn for_each_products(&self, mut visit: impl FnMut(usize, &[f64])) {
        match self.keeps_products() {
            true => self.products().column_iter().enumerate().for_each(|(i, column)| visit(i, column.as_slice())),
            false => products::for_each_row(&self.rows, visit),
        }
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

/// The label that a probe names for every state.
#[cfg(test)]
fn guessed(probe: &dyn Probe, states: &States, labels: &[usize]) -> Vec<usize> {
    probe.guess(states, &[labels])[0].iter().map(|guess| guess.label).collect()
}

/// What its guess for every state counts.
#[cfg(test)]
fn credits(probe: &dyn Probe, states: &States, labels: &[usize]) -> Vec<f64> {
    probe.guess(states, &[labels])[0].iter().map(|guess| guess.credit).collect()
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
            let guesses = guessed(&*probe, &states, &labels);
            for i in 0..30 {
                let mut other = labels.clone();
                other[i] = (labels[i] + 1) % 3;
                assert_eq!(guessed(&*probe, &states, &other)[i], guesses[i], "{} at {i}", probe.name());
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
            let guesses = guessed(&*probe, &states, &labels);
            for d in [30, 31, 90] {
                let wider = States::new(states.rows().clone().resize_horizontally(d, 0.0));
                assert_eq!(guessed(&*probe, &wider, &labels), guesses, "{} of {d} features", probe.name());
            }
        }
    }

    /// As the embedding of a token with which every prompt ends. Every fold has as many states of every label: a regression
    /// of which no feature says anything guesses the label that is more frequent where it was fitted.
    #[test]
    fn states_that_are_all_the_same_say_nothing_of_any_label() {
        let few = DMatrix::from_fn(24, 3, |_, j| j as f64);
        let many = DMatrix::from_fn(24, 40, |_, j| 1.0 / (j + 3) as f64);
        for states in [few, many].map(States::new) {
            for probe in every_probe() {
                for labels in [2, 3].map(|n| Vec::from_iter((0..24).map(|i| i * n / 24))) {
                    let each = 1.0 / n_labels(&labels) as f64;
                    let features = states.rows().ncols();
                    assert_eq!(
                        credits(&*probe, &states, &labels),
                        [each; 24],
                        "{} of {features} features",
                        probe.name()
                    );
                }
            }
        }
    }

    /// Votes in whole numbers tie often, and whoever gives a tie to the lowest label finds it read above chance and the
    /// highest below.
    #[test]
    fn states_that_say_nothing_are_read_at_chance_for_every_label() {
        let (labels, resamples) = (Vec::from_iter((0..80).map(|i| i / 20)), 60);
        let mut rng = data::Stream::new(1, data::Purpose::Probe).rng(0);
        for probe in every_probe() {
            let mut by_label = [const { Vec::new() }; 4];
            for _ in 0..resamples {
                let states = States::new(DMatrix::from_fn(80, 3, |_, _| rng.random::<f64>() - 0.5));
                let guesses = probe.guess(&states, &[&labels]).swap_remove(0);
                guesses.chunks(20).zip(&mut by_label).for_each(|(of_label, all)| all.push(accuracy(of_label)));
            }
            for (label, scores) in by_label.iter().enumerate() {
                let mean = scores.iter().sum::<f64>() / resamples as f64;
                let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (resamples - 1) as f64;
                // A state is one of 19 left of its own label and one of 20 of another, so chance is a little below 1/4.
                let error = (variance / resamples as f64).sqrt();
                assert!((mean - 0.25).abs() < 4.0 * error + 0.01, "{} reads label {label} at {mean}", probe.name());
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
