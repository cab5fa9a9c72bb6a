//! What a run leaves on disk; the only crate that knows the names of checkpoints and folders.
//!
//! A [`Config`] is what a user writes, an [`Experiment`] what it means once every field is checked, a [`RunDir`] where
//! everything about the run lies: configuration, [`Checkpoint`]s, [`Table`](record::Table)s, figures and the report.
//!
//! ```
//! use data::TaskRegistry;
//! use run::{Config, Source};
//!
//! let config = Config::resolve(&Source::named("quickstart"), &["train.steps=20".to_owned()]).unwrap();
//! let experiment = config.build(&TaskRegistry::builtin()).unwrap();
//! assert_eq!(experiment.config.train.steps, 20);
//! ```

mod asking;
mod checkpoint;
mod checkpoints;
mod checks;
mod config;
mod edited;
mod elsewhere;
mod error;
mod finding;
mod generator;
mod lengthening;
mod memory;
mod remeasure;
mod resolve;
mod run_dir;
mod schedule;
mod sealing;
mod sensitivities;
mod subject;
mod sweep;
mod until;
mod version;

pub use checkpoint::{Checkpoint, Moments};
pub use checkpoints::{Damaged, Unneeded};
pub use checks::check_name;
pub use config::{CheckpointConfig, Config, Experiment, FinetuneConfig, MuonConfig, TrainConfig};
pub use error::{ConfigError, RunError};
pub use finding::{Runs, runs_in};
pub use memory::Work;
pub use resolve::{PRESETS, Source, apply, lay_over, read_as};
pub use run_dir::{Environment, RunDir};
pub use schedule::Schedule;
pub use subject::{Checkpoints, ModelSubject};
pub use sweep::Sweep;
pub use until::{Ended, GiveUp, Until, Verdict};
