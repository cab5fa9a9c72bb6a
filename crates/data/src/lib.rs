//! What a prompt is and how one is drawn.
//!
//! A [`Task`] is a distribution over [`Prompt`]s with a latent [`Concept`]; a [`Sampler`] draws prompts of a task by
//! address (seed, purpose, index), never by advancing a generator; a [`Predictor`] is what a task knows in closed form
//! about answering it.
//!
//! ```
//! use data::{Purpose, Sampler, Stream, TaskRegistry};
//!
//! let toml = r#"
//!     kind = "sparse_regression"
//!     d_x = 8
//!     n_points = 10
//!     bases = { blocks = { count = 4, rank = 2 } }
//!     noise_variance = 0.01
//!     w_std = 1.0
//! "#;
//! let task = TaskRegistry::builtin().build(&toml.parse().unwrap()).unwrap();
//! let sampler = Sampler::new(task, Stream::new(0, Purpose::Train));
//! let batch = sampler.prompts(128..256).unwrap();
//! assert_eq!(batch[7..8], sampler.prompts(135..136).unwrap());
//! ```

mod bases;
mod checks;
mod error;
mod external;
mod fields;
mod function_families;
mod legend;
mod pool;
mod predictors;
mod prompt;
mod registry;
mod sampler;
mod sparse_regression;
mod stream;
mod task;
mod text;

pub use bases::{Bases, Blocks};
pub use error::TaskError;
pub use external::{Arrays, ArraysConfig, Division, Process, ProcessConfig, answer};
pub use fields::read_table;
pub use function_families::{Family, FunctionFamilies, FunctionFamiliesConfig, LeakyRelu, SparseLinear};
pub use legend::{Legend, LegendConcept, LegendPredictor};
pub use pool::PoolConfig;
pub use predictors::{
    BayesMixture, Lasso, LeastSquares, Mixture, Oracle, Predictor, Ridge, RidgeOnSquares, Role, Zero,
};
pub use prompt::{Basis, Concept, ConceptId, Prompt, PromptShape, Token};
pub use registry::{BuildTask, TaskRegistry};
pub use sampler::Sampler;
pub use sparse_regression::{SparseRegression, SparseRegressionConfig};
pub use stream::{Purpose, Stream};
pub use task::{Draws, Task};
pub use text::{
    BitwiseConfig, FileConfig, PartOfSpeechConfig, Place, ReadFiles, Spans, Template, TextFile, TextKind, TextPair,
    TextPrompt, TextSampler, TextSettings, TextTask, TextTaskConfig, WordClass, Written,
};
