//! A run that goes on beyond its end, in the same folder.
//!
//! A batch is a function of the step, so a run that is lengthened is the longer run from the beginning; only its tables also have
//! the rows of its old end, where the longer run would not have measured. It is found by the configuration of before as well.

use record::Lock;
use serde::{Deserialize, Serialize};

use crate::{Config, ConfigError, Experiment, RunDir, RunError};

const FILE: &str = "lengthened.toml";

/// What the file says.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lengthened {
    /// Steps that the run was to train for before, ascending.
    steps: Vec<usize>,
}

impl RunDir {
    /// Lets the run train for `steps` in all, and returns what it is then. Its weights, tables and checkpoints stay; one at a
    /// step that the longer run would not save is kept as if it were one of an interruption.
    ///
    /// # Errors
    /// When it trains for as many already, or for more than a run may, or has ended as `train.until` asks.
    pub fn lengthen(&self, _lock: &Lock, experiment: &Experiment, steps: usize) -> Result<Experiment, RunError> {
        let mut longer = experiment.clone();
        longer.config.train.steps = steps;
        let before = experiment.config.train.steps;
        let range = format!("more than {before}, which the run trains for already");
        let field = "train.steps".to_owned();
        let refused = |error| RunError::Refused { error };
        if let Some(ended) = self.ended()? {
            return Err(RunError::Ended { path: self.path().to_owned(), ended });
        }
        if steps <= before {
            return Err(refused(ConfigError::OutOfRange { field, range, value: steps.to_string() }));
        }
        longer.config.train.check().map_err(refused)?;
        let mut noted = Lengthened { steps: self.shorter()? };
        noted.steps.push(before);
        self.folder().write_toml(FILE, &noted)?;
        self.replace_config(&longer.config)?;
        Ok(longer)
    }

    /// The experiment that the run is, if it was the one that is given before it was lengthened.
    ///
    /// # Errors
    /// When the run cannot be read.
    pub fn as_lengthened(&self, mut experiment: Experiment) -> Result<Experiment, RunError> {
        if self.shorter()?.contains(&experiment.config.train.steps) {
            experiment.config.train.steps = self.sealed_config()?.train.steps;
        }
        Ok(experiment)
    }

    /// What `config`, the run's own, was before.
    pub(crate) fn earlier_configs(&self, config: &Config) -> Result<Vec<Config>, RunError> {
        let shorter = |steps| {
            let mut earlier = config.clone();
            earlier.train.steps = steps;
            earlier
        };
        // It stopped before it became longer, if it says so of itself.
        Ok(self.shorter()?.into_iter().filter(|&steps| steps != config.train.steps).map(shorter).collect())
    }

    fn shorter(&self) -> Result<Vec<usize>, RunError> {
        Ok(self.folder().read_toml::<Lengthened>(FILE)?.unwrap_or_default().steps)
    }
}
