//! How far a run has come, as its own files say: nobody has to be asked who started it.

use std::fmt;

use record::Holder;
use run::{Config, RunDir, RunError};
use serde::{Deserialize, Serialize};

use super::job::is_complete;

/// What a folder with a configuration holds.
#[derive(Debug)]
pub enum Contents {
    /// A training.
    Training(Box<Config>),
    /// Measurements of models that others trained.
    LanguageModel,
    /// Something whose configuration cannot be read, or was changed.
    Damaged(RunError),
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// What becomes of it.
    #[serde(flatten)]
    pub state: State,
    /// Step of the last checkpoint; none before the first.
    pub step: Option<usize>,
    /// Steps that it trains for.
    pub steps: usize,
}

/// What becomes of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// There is no folder of it.
    Missing,
    /// A process has it.
    Running {
        /// Which one.
        by: Holder,
    },
    /// Nobody has it, and it is not finished.
    Stopped,
    /// The last process that had it could not go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// Trained, measured and reported.
    Finished,
}

impl Contents {
    /// Of the folder of `run`.
    pub fn of(run: &RunDir) -> Self {
        match run.config() {
            Ok(config) => Self::Training(Box::new(config)),
            Err(_) if is_of_language_model(run) => Self::LanguageModel,
            Err(error) => Self::Damaged(error),
        }
    }
}

/// Whether nothing was trained there: the folder names models that others trained.
fn is_of_language_model(run: &RunDir) -> bool {
    /// What only measurements of language models have.
    #[derive(Deserialize)]
    struct Measured {
        models: Vec<String>,
    }
    let measured = run.folder().read_toml::<Measured>("config.toml");
    measured.is_ok_and(|measured| measured.is_some_and(|measured| !measured.models.is_empty()))
}

impl Status {
    /// Of the run of `config`, whose folder may not be there. What cannot be read counts as failed.
    pub fn of(run: Option<&RunDir>, config: &Config) -> Self {
        let steps = config.train.steps;
        let Some(run) = run else { return Self { state: State::Missing, step: None, steps } };
        let step = run.steps().ok().and_then(|mut steps| steps.pop());
        Self { state: State::of(run, config), step, steps }
    }

    /// Whether nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// Whether there is something to do, and nobody does it.
    pub fn is_open(&self) -> bool {
        !self.is_finished() && !matches!(self.state, State::Running { .. })
    }
}

impl State {
    fn of(run: &RunDir, config: &Config) -> Self {
        if let Some(by) = run.folder().holder() {
            return Self::Running { by };
        }
        match (run.failure(), is_complete(run, config)) {
            (Some(reason), _) => Self::Failed { reason },
            (None, Ok(true)) => Self::Finished,
            (None, Ok(false)) => Self::Stopped,
            (None, Err(error)) => Self::Failed { reason: error.to_string() },
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.step.map_or(String::new(), |step| format!(" at step {step} of {}", self.steps));
        match &self.state {
            State::Missing => f.write_str("missing"),
            State::Running { by } => write!(f, "running{at}, {by} has it"),
            State::Stopped if self.step.is_none() => f.write_str("not begun"),
            State::Stopped if self.step == Some(self.steps) => f.write_str("trained, but not yet measured in full"),
            State::Stopped => write!(f, "stopped{at}"),
            State::Failed { reason } => write!(f, "failed{at}: {reason}"),
            State::Finished if self.step != Some(self.steps) => write!(f, "finished{at}"),
            State::Finished => f.write_str("finished"),
        }
    }
}
