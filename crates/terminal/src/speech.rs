//! Which words go to which stream.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Failure;

/// Writes a result to standard output. A reader that went away is no error.
///
/// # Errors
/// When the result does not arrive, as in a file on a full disk.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Run(anyhow::anyhow!("could not write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a result to standard output as JSON.
///
/// # Errors
/// When it does not arrive, or a number has no JSON.
pub fn say_json(result: &impl Serialize) -> Result<(), Failure> {
    say(&serde_json::to_string_pretty(result).map_err(|error| Failure::Run(error.into()))?)
}

/// Writes a note to standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Notes how work that may take long goes on, but not in its first two seconds and not more often than every two.
pub fn patient_note() -> impl Fn(&str) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let last = Cell::new(Instant::now());
    move |text| {
        if last.get().elapsed() >= PATIENCE {
            last.set(Instant::now());
            note(text);
        }
    }
}
