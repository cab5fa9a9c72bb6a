//! Why a device was refused.

use thiserror::Error;

/// Why there is no such device to compute on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A name that is none of a device.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// What has the name.
        field: &'static str,
        /// The accepted names.
        range: String,
        /// The name found.
        value: String,
    },
    /// There is no such device, or what it needs is not installed.
    #[error("device {device} does not answer: {reason}")]
    NoAnswer {
        /// Name of the device.
        device: String,
        /// What is missing.
        reason: String,
    },
}
