//! Why settings or a model were refused.

use std::error::Error as StdError;

use data::TaskError;
use thiserror::Error;

/// Why settings of a measurement were refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A field has a value outside its range.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// Path of the field.
        field: String,
        /// The allowed values.
        range: String,
        /// The value found.
        value: String,
    },
}

impl ProbeError {
    /// Errors with the field, its range and its value unless it is `accepted`.
    pub(crate) fn check(
        field: &str,
        range: impl Into<String>,
        value: impl ToString,
        accepted: bool,
    ) -> Result<(), Self> {
        if accepted {
            return Ok(());
        }
        Err(Self::OutOfRange { field: field.to_owned(), range: range.into(), value: value.to_string() })
    }
}

/// Why a model could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// There is no model after so many steps.
    #[error("step must be one of the checkpoints of {place} ({known}), but is {step}")]
    NoStep {
        /// Where the models are.
        place: String,
        /// The step asked for.
        step: usize,
        /// The steps there are.
        known: String,
    },
    /// An edit names a part that the model does not have.
    #[error("an edit must name a {part} between {range}, but names {value}")]
    NoPart {
        /// The kind of part.
        part: &'static str,
        /// The parts there are.
        range: String,
        /// The one asked for.
        value: usize,
    },
    /// A model without attention was asked about heads, or about what the parts of a block write.
    #[error("the model must be one with attention, but has no heads, and its blocks add nothing to a stream")]
    NoAttention,
    /// A model was asked for single heads that does not tell them apart.
    #[error("the model must be one trained here, but is one whose heads are not told apart")]
    NoHeads,
    /// A model of numbers was asked about text.
    #[error("the model must be one of text, but is one of pairs of numbers")]
    NoText,
    /// The prompts to ask it with could not be made.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The model could not be read.
    #[error(transparent)]
    Unreadable(Box<dyn StdError + Send + Sync>),
}
