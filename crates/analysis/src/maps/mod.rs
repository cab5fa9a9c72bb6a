//! Hidden states in a plane.

use clap::ValueEnum;
use data::Stream;

use crate::States;

mod pca;
mod tsne;
mod umap;

#[cfg(test)]
mod trustworthiness;

pub use pca::{Plane, principal_components};
pub use tsne::tsne;
pub use umap::umap;

/// How states are brought into a plane.
///
/// Principal components are linear: what lies far apart in the plane lies far apart. The other two keep neighbours
/// together and choose the distances between groups freely, so they can show more separation than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MapMethod {
    /// Principal components
    #[default]
    Pca,
    /// UMAP: neighbours stay neighbours, by a fuzzy graph
    Umap,
    /// t-SNE: neighbours stay neighbours, by their probabilities
    Tsne,
}

impl MapMethod {
    /// Name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pca => "pca",
            Self::Umap => "umap",
            Self::Tsne => "tsne",
        }
    }

    /// Name in text.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pca => "principal components",
            Self::Umap => "UMAP",
            Self::Tsne => "t-SNE",
        }
    }

    /// States it needs at least.
    pub fn fewest_states(self) -> usize {
        match self {
            Self::Pca => 1,
            Self::Umap => umap::FEWEST_STATES,
            Self::Tsne => tsne::FEWEST_STATES,
        }
    }

    /// Brings states into a plane; only UMAP draws from `stream`.
    ///
    /// # Panics
    /// With fewer states than [`fewest_states`](Self::fewest_states).
    pub fn plane(self, states: &States, stream: Stream) -> Plane {
        match self {
            Self::Pca => principal_components(states.rows()),
            Self::Umap => Plane { points: umap(states, &mut stream.rng(0)), explained: None },
            Self::Tsne => Plane { points: tsne(states), explained: None },
        }
    }
}

/// The positive number at which an increasing function has the value `target`.
///
/// Doubles until the number is passed, then halves the interval; 64 steps together are enough for an f64 of any usual
/// size, and end also where there is no such number.
fn solve(increasing: impl Fn(f64) -> f64, target: f64) -> f64 {
    let (mut low, mut high, mut number) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..64 {
        if increasing(number) < target {
            low = number;
        } else {
            high = number;
        }
        number = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * low };
    }
    number
}

/// What UMAP and t-SNE promise. How near they come to other programs is in `tests/foreign/check_maps.py`.
#[cfg(test)]
mod tests {
    use data::Purpose;
    use nalgebra::DMatrix;
    use rand::{Rng, RngExt};

    use super::trustworthiness::trustworthiness;
    use super::*;

    const NEIGHBOURLY: [MapMethod; 2] = [MapMethod::Umap, MapMethod::Tsne];

    fn stream(seed: u64) -> Stream {
        Stream::new(seed, Purpose::Map)
    }

    fn noise(rng: &mut impl Rng) -> f64 {
        rng.random::<f64>() - 0.5
    }

    /// Six groups of 30 states, each around a corner of its own in ten dimensions.
    fn groups() -> (States, Vec<usize>) {
        let mut rng = Stream::new(0, Purpose::Probe).rng(0);
        let labels: Vec<usize> = (0..180).map(|i| i / 30).collect();
        let states = DMatrix::from_fn(180, 10, |i, j| 2.0 * noise(&mut rng) + if labels[i] == j { 3.0 } else { 0.0 });
        (States::new(states), labels)
    }

    /// A loop of 240 states that winds three times around in its two largest components, and once in the others.
    fn loops() -> States {
        let angle = |i: usize| i as f64 * std::f64::consts::TAU / 240.0;
        let place = |a: f64| [2.0 * (3.0 * a).cos(), 2.0 * (3.0 * a).sin(), 1.8 * a.cos(), 1.8 * a.sin()];
        States::new(DMatrix::from_fn(240, 4, |i, j| place(angle(i))[j]))
    }

    /// Share of the points whose nearest other point has the same label.
    fn apart(points: &[[f64; 2]], labels: &[usize]) -> f64 {
        let rows = DMatrix::from_fn(points.len(), 2, |i, j| points[i][j]);
        let one = crate::Knn { neighbours: 1, distance: crate::Distance::Euclidean };
        let nearest = one.nearest(&States::new(rows));
        nearest.iter().zip(labels).filter(|(near, label)| labels[near[0]] == **label).count() as f64
            / labels.len() as f64
    }

    #[test]
    fn planted_groups_come_apart() {
        let (states, labels) = groups();
        let of = |method: MapMethod| apart(&method.plane(&states, stream(0)).points, &labels);
        assert!(of(MapMethod::Pca) < 0.9, "six groups do not fit into two components: {}", of(MapMethod::Pca));
        for method in NEIGHBOURLY {
            assert_eq!(of(method), 1.0, "{}", method.name());
        }
    }

    #[test]
    fn neighbours_stay_neighbours_where_a_projection_folds_them_together() {
        let states = loops();
        let of = |method: MapMethod| trustworthiness(&states, &method.plane(&states, stream(0)).points, 15);
        assert!(of(MapMethod::Pca) < 0.9, "{}", of(MapMethod::Pca));
        for method in NEIGHBOURLY {
            assert!(of(method) > 0.99, "{}: {}", method.name(), of(method));
        }
    }

    #[test]
    fn a_seed_gives_the_same_map_on_any_number_of_threads() {
        let (states, _) = groups();
        for &method in MapMethod::value_variants() {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| method.plane(&states, stream(7)))
            };
            assert_eq!(on(1), on(2), "{}", method.name());
        }
        let umap = |seed| MapMethod::Umap.plane(&states, stream(seed));
        assert_ne!(umap(7), umap(8), "only UMAP samples");
    }

    #[test]
    fn size_and_place_of_the_states_do_not_matter() {
        let (states, labels) = groups();
        for scale in [1e-6, 1e6] {
            let other = States::new(states.rows().map(|value| scale * (value + 2.0)));
            for method in NEIGHBOURLY {
                assert_eq!(apart(&method.plane(&other, stream(0)).points, &labels), 1.0, "{}", method.name());
            }
        }
    }

    #[test]
    fn odd_states_are_brought_into_a_plane_all_the_same() {
        for &method in MapMethod::value_variants() {
            for value in [0.0, 1.0, f64::MAX, f64::INFINITY, f64::NAN] {
                let mut states = DMatrix::from_element(40, 3, 1.0);
                states[(0, 0)] = value;
                assert_eq!(method.plane(&States::new(states), stream(0)).points.len(), 40, "{}", method.name());
            }
            let fewest = States::new(DMatrix::from_fn(method.fewest_states(), 3, |i, j| (i * j) as f64));
            let points = method.plane(&fewest, stream(0)).points;
            assert!(points.iter().flatten().all(|value| value.is_finite()), "{}", method.name());
        }
    }

    #[test]
    fn solves_for_a_number_of_any_usual_size() {
        for number in [1e-9, 0.3, 1.0, 7.0, 1e9] {
            assert!((solve(|x| x, number) / number - 1.0).abs() < 1e-9);
        }
        assert!(solve(|x| x.min(2.0), 3.0) > 1e18, "there is none");
    }
}
