//! Prompts of text: demonstrations of a concept, and a query with its answer.
//!
//! A [`TextTask`] is a distribution over [`TextPrompt`]s. A [`Template`] writes a prompt as one text and says where in it
//! each answer stands, so that whoever cuts the text into tokens finds the answers again.

mod prompt;
mod task;
mod template;

pub use prompt::{TextPair, TextPrompt};
pub use task::TextTask;
pub use template::{Spans, Template, Written};
