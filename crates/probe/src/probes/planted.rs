//! What each probe can read of states whose content is known.
//!
//! A state holds the regression weights w, three concepts being three bases of rank 2, and beside them the token x times
//! a gain. All of it is Gaussian with mean zero: a concept shows in no mean, only in which variances are large.

use nalgebra::DMatrix;
use rand_distr::{Distribution, StandardNormal};

use super::{Centroid, Distance, Knn, Linear, Probe, Quadratic, States, accuracy};

const KNN: Knn = Knn { neighbours: 10, distance: Distance::Euclidean };
const KNN_COSINE: Knn = Knn { neighbours: 10, distance: Distance::Cosine };
const LINEAR: Linear = Linear { folds: 5, ridge: 1.0 };
const QUADRATIC: Quadratic = Quadratic { folds: 5, shrinkage: 0.1 };

/// 100 states a concept: w, of which the concept's two coordinates are on, then `gain` times x.
fn states(gain: f64) -> (States, Vec<usize>) {
    const PER_CONCEPT: usize = 100;
    let mut rng = data::Stream::new(0, data::Purpose::Probe).rng(0);
    let labels: Vec<usize> = (0..3 * PER_CONCEPT).map(|i| i / PER_CONCEPT).collect();
    let mut rows = DMatrix::zeros(labels.len(), 12);
    for (i, label) in labels.iter().enumerate() {
        for j in 0..2 {
            rows[(i, 2 * label + j)] = StandardNormal.sample(&mut rng);
        }
        for j in 6..12 {
            let x: f64 = StandardNormal.sample(&mut rng);
            rows[(i, j)] = gain * x;
        }
    }
    (States::new(rows), labels)
}

/// Accuracy of `probe` without x, with half of it, and with all of it.
fn accuracies(probe: &dyn Probe) -> [f64; 3] {
    [0.0, 0.5, 1.0].map(|gain| {
        let (states, labels) = states(gain);
        accuracy(&probe.guess(&states, &[&labels])[0])
    })
}

/// A state that holds the regression weights gives the concept away; a copy of the token beside them, of the same
/// size, hides it from a vote by distance. So CD can stay low in a model that predicts as if it knew the concept.
#[test]
fn a_copy_of_the_token_hides_a_concept_that_is_there() {
    let [alone, small, equal] = accuracies(&KNN);
    assert!(alone > 0.97, "{alone}");
    assert!((0.80..0.94).contains(&small), "{small}");
    assert!((0.54..0.70).contains(&equal), "{equal}");
}

#[test]
fn it_hides_the_concept_from_a_vote_by_angle_as_well() {
    let [alone, small, equal] = accuracies(&KNN_COSINE);
    assert!(alone > 0.97, "{alone}");
    assert!((0.87..0.98).contains(&small), "{small}");
    assert!((0.55..0.77).contains(&equal), "{equal}");
}

/// The three means are the same but for chance, which is all that these two can follow: beside x they guess. Without x
/// they come to one half, since such a state is not zero in its own coordinates only: when chance points along them it
/// wins, when it points against them it loses.
#[test]
fn means_do_not_tell_which_coordinates_are_on() {
    for probe in [&Centroid as &dyn Probe, &LINEAR] {
        let [alone, small, equal] = accuracies(probe);
        assert!((0.33..0.62).contains(&alone), "{} {alone}", probe.name());
        assert!((0.24..0.50).contains(&small) && (0.24..0.50).contains(&equal), "{} {small} {equal}", probe.name());
    }
}

/// Variances do tell, and x does not disturb them.
#[test]
fn variances_tell_which_coordinates_are_on() {
    let [alone, small, equal] = accuracies(&QUADRATIC);
    assert!(alone > 0.95 && small > 0.95 && equal > 0.95, "{alone} {small} {equal}");
}
