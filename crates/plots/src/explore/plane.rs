//! Points that move in a plane, in two bytes each.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::ticks::extent;

/// Points after one step.
pub type Points = Vec<[f64; 2]>;

/// Points of one layer and token after every step. A coordinate is one of 256 places between the ends of its axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plane {
    /// The layer.
    pub layer: usize,
    /// The token.
    pub token: String,
    /// Lower and upper end of the first axis, then of the second.
    ends: [[f64; 2]; 2],
    /// Share of the variance along the axes after every step, in thousandths.
    shares: Vec<[u16; 2]>,
    /// Step by step, point by point, first and second coordinate.
    #[serde(serialize_with = "base64")]
    places: Vec<u8>,
}

impl Plane {
    /// Of points after every step, and of the share of the variance along each axis, 0 to 1.
    ///
    /// # Shapes
    /// `points` `[steps][n]`, `shares` `[steps]`
    pub fn new(layer: usize, token: String, points: &[Points], shares: &[[f64; 2]]) -> Self {
        let ends = [0, 1].map(|axis| ends(points.iter().flatten().map(|point| point[axis])));
        let place = |value: f64, [lo, hi]: [f64; 2]| {
            let share = if hi > lo { (value - lo) / (hi - lo) } else { 0.5 };
            (255.0 * share).round() as u8
        };
        let both = |point: &[f64; 2]| [place(point[0], ends[0]), place(point[1], ends[1])];
        let places = points.iter().flatten().flat_map(both).collect();
        let shares = shares.iter().map(|shares| shares.map(|share| (1000.0 * share).round() as u16)).collect();
        Self { layer, token, ends, shares, places }
    }
}

/// The least and the largest of the finite values.
fn ends(values: impl Iterator<Item = f64>) -> [f64; 2] {
    extent(values).map_or([0.0; 2], |range| [range.start, range.end])
}

fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_at_most_half_a_place_from_where_it_was() {
        let points: Vec<Points> =
            (0..4).map(|step| (0..50).map(|i| f64::from(i * i - 7 * step)).map(|v| [v, -0.1 * v]).collect()).collect();
        let plane = Plane::new(1, "x1".to_owned(), &points, &[[0.5, 0.25]; 4]);
        for (point, places) in points.iter().flatten().zip(plane.places.chunks_exact(2)) {
            for axis in 0..2 {
                let [lo, hi] = plane.ends[axis];
                let found = lo + (hi - lo) * f64::from(places[axis]) / 255.0;
                assert!((found - point[axis]).abs() <= (hi - lo) / 510.0 + 1e-9);
            }
        }
        assert_eq!(plane.shares[3], [500, 250]);
    }

    #[test]
    fn points_that_never_move_lie_in_the_middle() {
        assert_eq!(Plane::new(0, "x1".to_owned(), &[vec![[2.0, f64::NAN]]], &[]).places, [128, 128]);
    }
}
