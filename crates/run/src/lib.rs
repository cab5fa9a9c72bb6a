//! What a run leaves on disk; the only crate that knows file names.
//!
//! A [`Config`] is what a user writes, an [`Experiment`] what it means once every field is checked, a [`RunDir`] where
//! everything about the run lies: configuration, [`Checkpoint`]s, [`Table`]s, figures and the report.
//!
//! ```
//! use data::TaskRegistry;
//! use run::{Config, Source};
//!
//! let config = Config::resolve(&Source::named("quickstart"), &["train.steps=20".to_owned()]).unwrap();
//! let experiment = config.build(&TaskRegistry::builtin()).unwrap();
//! assert_eq!(experiment.config.train.steps, 20);
//! ```

mod checkpoint;
mod config;
mod error;
mod resolve;
mod run_dir;
mod schedule;
mod tables;

pub use checkpoint::{Checkpoint, Moments};
pub use config::{CheckpointConfig, Config, EvalConfig, Experiment, ProbeConfig, ProbeKind, ProbeToken, TrainConfig};
pub use error::{ConfigError, RunError};
pub use resolve::{PRESETS, Source};
pub use run_dir::{Environment, RunDir, RunLock};
pub use schedule::Schedule;
pub use tables::{
    BaselineRow, BestLayerRow, DecodabilityRow, MapRow, MetricRow, PairRow, PositionRow, Row, SensitivityRow,
    SeparationRow, Table, TrainingRow,
};

pub(crate) use error::io_error;
