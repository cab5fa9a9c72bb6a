//! Prompts that another program draws.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rand::{Rng, RngExt};
use serde::Deserialize;

use super::worker::{Description, PATIENCE, Worker};
use crate::checks::check_size;
use crate::{Concept, ConceptId, Draws, Prompt, PromptShape, Purpose, Stream, Task, TaskError};

/// Configuration of [`Process`]. `docs/custom-tasks.md` says what the program is asked and how it answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it is started.
    pub folder: PathBuf,
    /// What it answers to `version`. It belongs to the identity of a run: a program that draws other prompts than before has
    /// another version.
    pub version: String,
}

impl ProcessConfig {
    /// Refuses to start the program, for somebody who has not allowed it.
    ///
    /// # Errors
    /// Always. Names the program and how to allow it.
    pub fn refuse(&self) -> TaskError {
        TaskError::NotAllowed { command: self.command.join(" ") }
    }

    /// Starts the program twice and checks what it says: that both draw the same prompts at the same addresses, however many
    /// are asked for at once.
    ///
    /// # Errors
    /// When it cannot be started, is of another version, does not keep to the protocol, or its prompts depend on more than
    /// their address.
    pub fn build(&self) -> Result<Process, TaskError> {
        let trouble = |trouble| self.trouble(trouble);
        let start = || Worker::start(&self.command, &self.folder, PATIENCE);
        let mut first = start().map_err(trouble)?;
        let description = first.describe().map_err(trouble)?;
        self.check(&description)?;
        let mut second = start().map_err(trouble)?;
        if second.describe().map_err(trouble)? != description {
            return Err(trouble("says another thing of itself each time it is started".to_owned()));
        }
        let draws = |purpose, first, count, concept| {
            let stream = Stream::new(0, purpose);
            Draws { stream, first, count, concept, before: first }
        };
        for (purpose, concept) in [(Purpose::Train, None), (Purpose::Probe, Some(ConceptId(0)))] {
            let together = first.draw(&draws(purpose, 0, 8, concept), &description).map_err(trouble)?;
            for worker in [&mut first, &mut second] {
                let apart = worker.draw(&draws(purpose, 5, 2, concept), &description).map_err(trouble)?;
                if apart != together[5..7] {
                    let asked = "seed 0 and index 5 once among eight and once among two";
                    return Err(trouble(format!(
                        "must draw the same prompt at the same address, but at {asked} did not"
                    )));
                }
            }
        }
        // A sweep builds many tasks long before it draws from them: nothing is left running until then.
        Ok(Process { config: self.clone(), description, idle: Mutex::default() })
    }

    fn check(&self, description: &Description) -> Result<(), TaskError> {
        let Description { version, shape, concepts } = description;
        if *version != self.version {
            let asked = &self.version;
            return Err(
                self.trouble(format!("must answer `version` with task.version ({asked:?}), but says {version:?}"))
            );
        }
        check_size("n_points of task.command", shape.n_points)?;
        check_size("d_x of task.command", shape.d_x)?;
        let sum: f64 = concepts.iter().map(|concept| concept.weight).sum();
        let weights_sum = concepts.iter().all(|concept| concept.weight >= 0.0) && (sum - 1.0).abs() < 1e-6;
        if concepts.is_empty() || !weights_sum {
            return Err(self.trouble("must have concepts whose weights are at least 0 and sum to 1".to_owned()));
        }
        let named = |at: usize| {
            let name = &concepts[at].name;
            !name.trim().is_empty() && concepts[..at].iter().all(|other| other.name != *name)
        };
        if !(0..concepts.len()).all(named) {
            return Err(self.trouble("must give every concept a name of its own".to_owned()));
        }
        Ok(())
    }

    fn trouble(&self, trouble: String) -> TaskError {
        TaskError::Generator { command: self.command.join(" "), trouble }
    }
}

/// A task that another program draws. As many of it run as there are threads that draw at the same time.
#[derive(Debug)]
pub struct Process {
    config: ProcessConfig,
    description: Description,
    idle: Mutex<Vec<Worker>>,
}

impl Process {
    /// The generators that nobody speaks to.
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task for Process {
    fn shape(&self) -> PromptShape {
        self.description.shape
    }

    fn concepts(&self) -> &[Concept] {
        &self.description.concepts
    }

    /// A prompt at an address that `rng` chooses.
    ///
    /// # Panics
    /// When the program fails. [`draw`](Task::draw) says why it does.
    fn sample(&self, concept: ConceptId, rng: &mut dyn Rng) -> Prompt {
        let stream = Stream::new(rng.random(), Purpose::Train);
        let draws = Draws { stream, first: 0, count: 1, concept: Some(concept), before: 0 };
        self.draw(&draws).expect("the generator answers").remove(0)
    }

    fn draw(&self, draws: &Draws) -> Result<Vec<Prompt>, TaskError> {
        let trouble = |trouble| self.config.trouble(trouble);
        let idle = self.idle().pop();
        let mut worker = idle
            .map_or_else(|| Worker::start(&self.config.command, &self.config.folder, PATIENCE), Ok)
            .map_err(trouble)?;
        let prompts = worker.draw(draws, &self.description).map_err(trouble)?;
        self.idle().push(worker);
        Ok(prompts)
    }
}
