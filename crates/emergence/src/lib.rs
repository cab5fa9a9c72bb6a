//! Train small GPT-style transformers from scratch on in-context-learning tasks, and measure how they come to encode
//! the latent concept of a prompt while they learn to decode it.
//!
//! This crate re-exports the workspace: [`data`] (prompts), [`model`] (the transformer), [`run`] (the run directory),
//! [`analysis`] (decodability, figures, report), [`trainer`] (the loop), [`plots`] (what figures are made of) and
//! [`terminal`] (how programs speak). [`command_line`] is the whole program, for the tasks of any registry, custom ones
//! included.
//!
//! ```
//! use emergence::model::{Device, Transformer};
//! use emergence::{analysis, data, run};
//!
//! // A configuration, checked; prompts by address; a model drawn from the same seed.
//! let config = run::Config::resolve(&run::Source::named("smoke"), &[])?;
//! let experiment = config.build(&data::TaskRegistry::builtin())?;
//! let mut rng = data::Stream::new(0, data::Purpose::Init).rng(0);
//! let weights = experiment.config.model.init(&experiment.architecture, &mut rng);
//! let model = Transformer::<burn_flex::Flex>::new(&experiment.architecture, &weights, &Default::default())?;
//!
//! // An untrained model reads no concept: CD at the query is near chance at every layer.
//! let tables = analysis::decodability(&model, &experiment, 0, &Default::default());
//! let query = tables.cd.iter().filter(|row| row.token == "x6" && row.concept.is_none() && row.probe == "knn");
//! for row in query {
//!     assert!((row.score - row.chance).abs() < 0.3, "{row:?}");
//! }
//! assert_eq!(Device::default().to_string(), "flex");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use analysis;
pub use data;
pub use model;
pub use plots;
pub use run;
pub use terminal;
pub use trainer;

mod cli;

pub use cli::command_line;
