//! Why a model was refused.

use thiserror::Error;

/// Why a model could not be configured or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A field has a value outside its range.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// Path of the field in the configuration.
        field: &'static str,
        /// The allowed values.
        range: String,
        /// The value found.
        value: String,
    },
    /// The bytes are not safetensors, or are cut short or too long.
    #[error("weights: not a readable safetensors file: {reason}")]
    NotSafetensors {
        /// What the parser said.
        reason: String,
    },
    /// The header does not say what kind of weights these are.
    #[error("weights: the header must have the key \"emergence\" with version and architecture: {reason}")]
    Header {
        /// What is missing or malformed.
        reason: String,
    },
    /// The file is of another version of the format.
    #[error("weights: format version must be {expected}, but is {found}")]
    Version {
        /// The version this program reads.
        expected: u32,
        /// The version found.
        found: u32,
    },
    /// A tensor that the architecture needs is not there.
    #[error("weights: tensor {name} is missing")]
    MissingTensor {
        /// Name of the parameter.
        name: String,
    },
    /// A tensor that the architecture does not have.
    #[error("weights: tensor {name} is not part of the model")]
    UnexpectedTensor {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor of another shape than the architecture's.
    #[error("weights: tensor {name} must have shape {expected:?}, but has {found:?}")]
    Shape {
        /// Name of the parameter.
        name: String,
        /// The architecture's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A tensor that is not f32.
    #[error("weights: tensor {name} must have dtype F32, but has {found}")]
    Dtype {
        /// Name of the parameter.
        name: String,
        /// The file's dtype.
        found: String,
    },
}
