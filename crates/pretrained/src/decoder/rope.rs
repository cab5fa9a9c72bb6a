//! The frequencies of rotary positions.

use std::f32::consts::PI;

use kernels::Rope;

use crate::folder::{Rotation, Scaling};

impl Rotation {
    /// The rotations of so many positions. Frequencies are rounded to f32 where the models' own code rounds them.
    pub(crate) fn table(&self, positions: usize) -> Rope {
        let frequency = |i: usize| {
            let exponent = (2 * i) as f32 / self.dims as f32;
            self.scaling.of(1.0 / self.base.powf(f64::from(exponent)) as f32)
        };
        Rope::new(positions, &(0..self.dims / 2).map(frequency).collect::<Vec<_>>())
    }
}

impl Scaling {
    /// A frequency, changed.
    ///
    /// # Source
    /// Llama 3.1's reference code: long waves are slowed by the factor, short ones not, those between in part.
    fn of(self, frequency: f32) -> f32 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, positions } => {
                let wavelength = 2.0 * PI / frequency;
                if wavelength > positions / low {
                    frequency / factor
                } else if wavelength < positions / high {
                    frequency
                } else {
                    let smooth = (positions / wavelength - low) / (high - low);
                    (1.0 - smooth) * (frequency / factor) + smooth * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_waves_are_slowed_and_short_ones_are_not() {
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, positions: 8192.0 };
        assert_eq!([scaling.of(1.0), scaling.of(1e-5)], [1.0, 1e-5 / 8.0]);
        let between = scaling.of(2.0 * PI / 4096.0);
        assert!(between < 2.0 * PI / 4096.0 && between > 2.0 * PI / 4096.0 / 8.0);
    }
}
