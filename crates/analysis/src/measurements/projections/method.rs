//! How states are brought into a plane.

use std::str::FromStr;

use data::Stream;
use probe::States;
use serde::Serialize;

use super::MapMethod;
use super::pca::{Plane, principal_components};
use super::umap::{self, umap};

/// How states are brought into a plane.
///
/// Principal components are linear: what lies far apart in the plane lies far apart. UMAP keeps neighbours together and
/// chooses the distances between groups freely, so it can show more separation than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// Principal components.
    #[default]
    Pca,
    /// UMAP: neighbours stay neighbours, by a fuzzy graph.
    Umap,
}

impl Projection {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Pca, Self::Umap];

    /// Name in tables.
    pub fn method(self) -> MapMethod {
        match self {
            Self::Pca => MapMethod::Pca,
            Self::Umap => MapMethod::Umap,
        }
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pca => "pca",
            Self::Umap => "umap",
        }
    }

    /// States it needs at least.
    pub fn fewest_states(self) -> usize {
        match self {
            Self::Pca => 1,
            Self::Umap => umap::FEWEST_STATES,
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
        }
    }
}

impl FromStr for Projection {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|method| method.name() == name);
        found.ok_or_else(|| match name {
            "tsne" => "must be pca or umap (for t-SNE, `export RUN` writes the states for scikit-learn)".to_owned(),
            _ => "must be pca or umap".to_owned(),
        })
    }
}

/// What the projections promise. How near they come to other programs is in `tests/foreign/check_maps.py`.
#[cfg(test)]
mod tests {
    use data::Purpose;
    use nalgebra::DMatrix;
    use rand::{Rng, RngExt};

    use super::*;
    use crate::measurements::projections::trustworthiness::trustworthiness;

    const NEIGHBOURLY: [Projection; 1] = [Projection::Umap];

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
        let one = probe::Knn { neighbours: 1, distance: probe::Distance::Euclidean };
        let nearest = one.nearest(&States::new(rows));
        nearest.iter().zip(labels).filter(|(near, label)| labels[near[0]] == **label).count() as f64
            / labels.len() as f64
    }

    #[test]
    fn planted_groups_come_apart() {
        let (states, labels) = groups();
        let of = |method: Projection| apart(&method.plane(&states, stream(0)).points, &labels);
        assert!(of(Projection::Pca) < 0.9, "six groups do not fit into two components: {}", of(Projection::Pca));
        for method in NEIGHBOURLY {
            assert_eq!(of(method), 1.0, "{}", method.name());
        }
    }

    #[test]
    fn neighbours_stay_neighbours_where_a_projection_folds_them_together() {
        let states = loops();
        let of = |method: Projection| trustworthiness(&states, &method.plane(&states, stream(0)).points, 15);
        assert!(of(Projection::Pca) < 0.9, "{}", of(Projection::Pca));
        for method in NEIGHBOURLY {
            assert!(of(method) > 0.99, "{}: {}", method.name(), of(method));
        }
    }

    #[test]
    fn a_seed_gives_the_same_map_on_any_number_of_threads() {
        let (states, _) = groups();
        for method in Projection::ALL {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| method.plane(&states, stream(7)))
            };
            assert_eq!(on(1), on(2), "{}", method.name());
        }
        let umap = |seed| Projection::Umap.plane(&states, stream(seed));
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
        for method in Projection::ALL {
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
}
