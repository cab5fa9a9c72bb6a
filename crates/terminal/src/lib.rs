//! How the programs speak: results to standard output, everything else to standard error, one exit code a meaning.
//!
//! A command returns a [`Failure`] or nothing, and [`conclude`] says what went wrong and turns it into an exit code.
//! [`say`] prints a result, [`note`] everything around it, and [`Progress`] how far long work has come. Nothing here knows
//! what the programs do.
//!
//! ```
//! use std::process::ExitCode;
//!
//! use terminal::{Failure, conclude, say};
//!
//! fn double(text: &str) -> Result<(), Failure> {
//!     let number: i64 = text.parse().map_err(|_| {
//!         Failure::Request(anyhow::anyhow!("NUMBER must be an integer, but is {text:?}"))
//!     })?;
//!     say(&(2 * number).to_string())
//! }
//!
//! assert_eq!(conclude(double("4")), ExitCode::SUCCESS);
//! assert_eq!(conclude(double("four")), ExitCode::from(2));
//! ```

mod failure;
mod options;
mod progress;
mod shell;
mod signals;
mod speech;

pub use failure::{Failure, conclude};
pub use options::{parse, whole};
pub use progress::{Progress, clock};
pub use shell::{in_shell, program_name};
pub use signals::{Held, Stop, listen, stop_signal};
pub use speech::{note, patient_note, say, say_json};
