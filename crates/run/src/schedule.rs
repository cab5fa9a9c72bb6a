//! The learning rate over training.

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::checks::check;

/// How the learning rate goes over training, as a factor of `train.learning_rate`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// 1 throughout.
    // With braces, since serde takes any fields for a variant that can have none.
    Constant {},
    /// Linear from 1/`steps` to 1 in the first `steps` steps, then 1.
    WarmUp {
        /// Steps until the full rate.
        steps: usize,
    },
    /// Linear to 1 in `warm_up` steps, then half a cosine down to `floor` at step `until`, then constant.
    Cosine {
        /// Steps until the full rate; 0 for none.
        warm_up: usize,
        /// Step at which the floor is reached.
        until: usize,
        /// The final factor, 0 to 1.
        floor: f64,
    },
}

impl Schedule {
    /// The factor for the step that follows `step` finished ones.
    pub fn factor(&self, step: usize) -> f64 {
        match *self {
            Self::Constant {} => 1.0,
            Self::WarmUp { steps } => warm_up(step, steps),
            Self::Cosine { warm_up: up, .. } if step < up => warm_up(step, up),
            Self::Cosine { warm_up: up, until, floor } => {
                let progress = ((step - up) as f64 / (until - up) as f64).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Constant {} => Ok(()),
            Self::WarmUp { steps } => check("train.schedule.steps", "at least 1", steps, steps >= 1),
            Self::Cosine { warm_up, until, floor } => {
                check("train.schedule.until", format!("above warm_up ({warm_up})"), until, until > warm_up)?;
                check("train.schedule.floor", "between 0 and 1", format!("{floor:?}"), (0.0..=1.0).contains(&floor))
            }
        }
    }
}

fn warm_up(step: usize, steps: usize) -> f64 {
    ((step + 1) as f64 / steps as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_at_the_corners() {
        let cosine = Schedule::Cosine { warm_up: 4, until: 14, floor: 0.2 };
        let cases = [
            (Schedule::Constant {}, 0, 1.0),
            (Schedule::Constant {}, 1_000_000, 1.0),
            (Schedule::WarmUp { steps: 4 }, 0, 0.25),
            (Schedule::WarmUp { steps: 4 }, 3, 1.0),
            (Schedule::WarmUp { steps: 4 }, 9, 1.0),
            (cosine, 0, 0.25),
            (cosine, 4, 1.0),
            (cosine, 9, 0.6),
            (cosine, 14, 0.2),
            (cosine, 1_000, 0.2),
        ];
        for (schedule, step, expected) in cases {
            assert!((schedule.factor(step) - expected).abs() < 1e-12, "{schedule:?} at {step}");
        }
    }
}
