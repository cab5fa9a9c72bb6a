//! What another program drew when a run was made, so that one which draws other prompts under the same version is noticed.

use data::{Prompt, Purpose, Sampler, Stream};
use record::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ConfigError, Experiment, RunDir, RunError};

const FILE: &str = "generator.toml";
/// Prompts of a stream that are looked at.
const FIRST: u64 = 4;

/// What the file says.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drawn {
    /// Of the first prompts to train on and to evaluate.
    sha256: String,
}

impl RunDir {
    /// Notes what the program that draws the task's prompts draws, unless that is noted already. Other tasks draw their prompts in
    /// this program, or from a file whose hash is known.
    ///
    /// # Errors
    /// When it draws others than what is noted, or nothing.
    pub fn note_generator(&self, experiment: &Experiment) -> Result<(), RunError> {
        match self.generator(experiment)? {
            Some(drawn) => Ok(self.folder().write_toml(FILE, &drawn)?),
            None => Ok(()),
        }
    }

    /// What is to be noted: what the task's program draws, where nothing is noted yet.
    ///
    /// # Errors
    /// When it draws others than what is noted, or nothing.
    pub(crate) fn generator(&self, experiment: &Experiment) -> Result<Option<Drawn>, RunError> {
        if experiment.config.task.get("kind").and_then(|kind| kind.as_str()) != Some("process") {
            return Ok(None);
        }
        let path = || self.config_file();
        let drawn = drawn(experiment).map_err(|error| RunError::Config { path: path(), error })?;
        match self.folder().read_toml::<Drawn>(FILE)? {
            Some(noted) if noted == drawn => Ok(None),
            Some(_) => Err(RunError::OtherPrompts { path: path() }),
            None => Ok(Some(drawn)),
        }
    }
}

fn drawn(experiment: &Experiment) -> Result<Drawn, ConfigError> {
    let sampler =
        |purpose| Sampler::new(experiment.study.task.pairs().clone(), Stream::new(experiment.config.seed, purpose));
    let mut prompts = sampler(Purpose::Train).in_turn(0..FIRST)?;
    prompts.extend(sampler(Purpose::Eval).in_turn(0..FIRST)?);
    let mut digest = Sha256::new();
    for Prompt { concept, xs, ys } in prompts {
        digest.update((concept.0 as u64).to_le_bytes());
        xs.iter().chain(&ys).for_each(|value| digest.update(value.to_le_bytes()));
    }
    Ok(Drawn { sha256: hex(&digest.finalize()) })
}
