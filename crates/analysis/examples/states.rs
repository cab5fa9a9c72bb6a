//! Times probes and UMAP on states of a file, for `benches/growth.py` and `benches/beside.py`.
//!
//!     cargo run -p analysis --example states -- FILE WIDTH CONCEPTS [umap]
//!
//! FILE has the states as f32, one after the other, lowest byte first; the states of a concept stand together, and every
//! concept has as many. What is timed is Concept Decodability with all five probes at their default settings, or the map of
//! the states by UMAP, on one thread. Prints `{"seconds": …, "scores": {…}}`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use nalgebra::DMatrix;
use probe::{Centroid, Distance, Knn, Linear, Probe, Quadratic, States, accuracy};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, width, concepts, rest @ ..] = &arguments[..] else { panic!("FILE WIDTH CONCEPTS [umap]") };
    let [width, concepts]: [usize; 2] = [width, concepts].map(|number| number.parse().expect("a whole number"));
    let bytes = std::fs::read(file).expect("a file of states");
    let numbers =
        bytes.chunks_exact(4).map(|number| f64::from(f32::from_le_bytes(number.try_into().expect("four bytes"))));
    let n = bytes.len() / 4 / width;
    let labels: Vec<usize> = (0..n).map(|i| i * concepts / n).collect();
    let began = Instant::now();
    let states = States::new(DMatrix::from_row_iterator(n, width, numbers));
    let mut scores = BTreeMap::new();
    if rest.is_empty() {
        for probe in default_probes() {
            scores.insert(probe.name().to_owned(), accuracy(&probe.guess(&states, &[&labels])[0]));
        }
    } else {
        let points = analysis::umap(&states, &mut data::Stream::new(0, data::Purpose::Probe).rng(0));
        scores.insert("points".to_owned(), points.len() as f64);
    }
    let seconds = began.elapsed().as_secs_f64();
    let found = serde_json::json!({ "seconds": seconds, "scores": scores });
    writeln!(std::io::stdout(), "{found}").expect("standard output can be written");
}

fn default_probes() -> [Box<dyn Probe>; 5] {
    let knn = |distance| Box::new(Knn { neighbours: 10, distance });
    [
        knn(Distance::Euclidean),
        knn(Distance::Cosine),
        Box::new(Centroid),
        Box::new(Linear { folds: 5, ridge: 1.0 }),
        Box::new(Quadratic { folds: 5, shrinkage: 0.1 }),
    ]
}
