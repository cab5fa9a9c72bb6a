//! Training that ends before its last step: when its target is reached, or when it has fallen too far behind.

use std::fmt;

use data::{Legend, Role};
use serde::{Deserialize, Serialize};

use crate::checks::check;
use crate::{Config, ConfigError, RunDir, RunError};

const FILE: &str = "ended.toml";

/// `train.until`: when training ends before `train.steps`. Checkpoints decide, as soon as they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// The error over that of the optimal predictor, both over all concepts and positions, at which the run has reached what
    /// it was trained for; at least 1.
    pub error_over_bayes: f64,
    /// When the run is given up; absent where it never is.
    pub give_up: Option<GiveUp>,
}

/// `train.until.give_up`: what a run has to have reached on its way, for emergence is too sudden to be foretold from a slope.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveUp {
    /// The first step at which it counts, at least 1.
    pub after: usize,
    /// The error over that of the optimal predictor above which the run is given up; above `error_over_bayes`.
    pub above: f64,
}

/// How a run ended before `train.steps`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The step of its last checkpoint.
    pub step: usize,
    /// The error there over that of the optimal predictor.
    pub error_over_bayes: f64,
    /// Whether the target was reached.
    pub verdict: Verdict,
}

/// Why training ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The target is reached.
    Reached,
    /// The run is too far behind.
    GivenUp,
}

impl Until {
    /// The end at a checkpoint where the error is `error_over_bayes` times that of the optimal predictor; none if training
    /// goes on.
    pub fn end(&self, step: usize, error_over_bayes: f64) -> Option<Ended> {
        let is_behind = |rule: GiveUp| step >= rule.after && error_over_bayes > rule.above;
        let verdict = match error_over_bayes <= self.error_over_bayes {
            true => Verdict::Reached,
            false => self.give_up.is_some_and(is_behind).then_some(Verdict::GivenUp)?,
        };
        Some(Ended { step, error_over_bayes, verdict })
    }

    pub(crate) fn check(&self, legend: &Legend) -> Result<(), ConfigError> {
        let target = self.error_over_bayes;
        let optimal = legend.with_role(Role::Optimal).is_some();
        check("train.until", "absent where the task has no optimal predictor", "there", optimal)?;
        let reachable = target.is_finite() && target >= 1.0;
        check("train.until.error_over_bayes", "a number of at least 1", format!("{target:?}"), reachable)?;
        let Some(GiveUp { after, above }) = self.give_up else { return Ok(()) };
        check("train.until.give_up.after", "at least 1", after, after >= 1)?;
        let range = format!("a number above train.until.error_over_bayes ({target})");
        check("train.until.give_up.above", range, format!("{above:?}"), above.is_finite() && above > target)
    }
}

impl RunDir {
    /// Notes that training ends with a checkpoint that is about to be completed.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn note_end(&self, ended: &Ended) -> Result<(), RunError> {
        Ok(self.folder().write_toml(FILE, ended)?)
    }

    /// How training ended, if it ended before `train.steps` and the checkpoint where it did is there.
    ///
    /// # Errors
    /// When the run cannot be read.
    pub fn ended(&self) -> Result<Option<Ended>, RunError> {
        let noted = self.folder().read_toml::<Ended>(FILE)?;
        let last = self.steps()?.pop();
        Ok(noted.filter(|ended| Some(ended.step) == last))
    }

    /// The step that training of `config` ends with, or has ended with.
    ///
    /// # Errors
    /// When the run cannot be read.
    pub fn end(&self, config: &Config) -> Result<usize, RunError> {
        Ok(self.ended()?.map_or(config.train.steps, |ended| ended.step))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, error_over_bayes, verdict } = self;
        let verdict = match verdict {
            Verdict::Reached => "what train.until asks for",
            Verdict::GivenUp => "more than train.until.give_up allows",
        };
        write!(f, "training ended with step {step}: the error is {error_over_bayes:.2} × optimal, {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_ends_it_and_so_does_falling_behind() {
        let until = Until { error_over_bayes: 1.1, give_up: Some(GiveUp { after: 100, above: 2.0 }) };
        let verdict = |step, error| until.end(step, error).map(|ended| ended.verdict);
        assert_eq!(verdict(0, 1.1), Some(Verdict::Reached));
        assert_eq!(verdict(99, 2.5), None);
        assert_eq!(verdict(100, 2.5), Some(Verdict::GivenUp));
        assert_eq!(verdict(100, 2.0), None);
        assert_eq!(Until { give_up: None, ..until }.end(1_000_000, 9.0), None);
    }
}
