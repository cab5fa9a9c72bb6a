//! Train small GPT-style transformers from scratch on in-context-learning tasks, and measure how they come to encode
//! the latent concept of a prompt while they learn to decode it.
//!
//! This crate re-exports the workspace: [`data`] (prompts), [`probe`] (what can be asked of a model), [`kernels`] (what a
//! backend does in one piece), [`model`] (the transformer), [`record`] (tables and files), [`run`] (a training run on
//! disk), [`plots`] (figures), [`analysis`] (measurements, comparison, report), [`trainer`] (the loop), [`server`] (pages of
//! the runs in a folder) and [`terminal`] (how programs speak). [`command_line`] is the whole program, for the tasks of any
//! registry, custom ones included.
//!
//! ```
//! use emergence::analysis::{Decodability, Live};
//! use emergence::data::{Purpose, Stream, TaskRegistry, Token};
//! use emergence::model::Model;
//! use emergence::probe::ProbeReading;
//! use emergence::run::{Config, ModelSubject, Source};
//!
//! // A configuration, checked; a model drawn from its seed, as a subject of measurements.
//! let experiment = Config::resolve(&Source::named("smoke"), &[])?.build(&TaskRegistry::builtin())?;
//! let weights = experiment.config.model.init(&experiment.architecture, &mut Stream::new(0, Purpose::Init).rng(0));
//! let model = Model::<burn_flex::Flex>::new(&experiment.architecture, &weights, &Default::default())?;
//! let subject = ModelSubject::new(model, &experiment, Default::default());
//!
//! // An untrained model reads no concept: CD at the query is near chance at every layer.
//! let (cd, _) = Decodability::at(&experiment.study, &subject, 0)?;
//! let query = cd.iter().filter(|row| row.token == Token::X(6) && row.concept.is_none());
//! for row in query.filter(|row| row.probe == ProbeReading::CD) {
//!     assert!((row.score - row.chance).abs() < 0.3, "{row:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use analysis;
pub use data;
pub use kernels;
pub use model;
pub use plots;
pub use pretrained;
pub use probe;
pub use record;
pub use run;
pub use server;
pub use terminal;
pub use trainer;

mod cli;
mod program;

pub use cli::command_line;
