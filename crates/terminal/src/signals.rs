//! Being asked to stop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::Failure;

/// Set by the first SIGINT or SIGTERM; the second ends the program at once.
///
/// # Errors
/// When the system does not let signals be caught.
pub fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let register = || {
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
            signal_hook::flag::register(signal, stop.clone())
        };
        register().map_err(|error| Failure::Run(error.into()))?;
    }
    Ok(stop)
}
