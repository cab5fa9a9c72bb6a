//! What can be asked of any model, and the probes that read concepts from its states; numbers on the host only.
//!
//! A [`Subject`] is a model that measurements work on: it hands over hidden states, [`Representations`], and answers
//! [`Prompts`], of numbers or of text, under an [`Edit`] of its states. A [`Probe`] guesses the concept of prompts from
//! [`States`]. A [`Study`] says what is asked: the task, and the settings of errors and probes.
//!
//! ```
//! use nalgebra::DMatrix;
//! use probe::{Distance, Knn, Probe, States, accuracy};
//!
//! // Two planted concepts, apart along the first coordinate.
//! let labels: Vec<usize> = (0..40).map(|i| i / 20).collect();
//! let states = DMatrix::from_fn(40, 2, |i, j| if j == 0 { 9.0 * labels[i] as f64 } else { i as f64 / 40.0 });
//! let knn = Knn { neighbours: 10, distance: Distance::Euclidean };
//! assert_eq!(accuracy(&knn.guess(&States::new(states), &[&labels])[0]), 1.0);
//! ```

mod config;
mod edit;
mod error;
mod probes;
mod prompts;
mod representations;
mod study;
mod subject;
mod task;

pub use config::{Control, EvalConfig, ProbeConfig, ProbeKind, ProbeReading, ProbeToken};
pub use edit::{Change, Edit, Vectors};
pub use error::{ProbeError, SubjectError};
pub use probes::{Centroid, Distance, Guess, KEPT_PRODUCTS, Knn, Linear, Probe, Quadratic, States, accuracy, probes};
pub use prompts::{Answers, Prompts, Score};
pub use representations::Representations;
pub use study::Study;
pub use subject::{Anatomy, Component, Delivery, Layer, Look, Sensitivities, Subject, Subjects, Wanted};
pub use task::AnyTask;
