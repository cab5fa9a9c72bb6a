//! Being asked to stop.

use std::ffi::c_int;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::Failure;

/// What asks a program to stop: a person, the system, a terminal that closes, and what Slurm and submitit send ahead of a
/// time limit.
const ASKING: [c_int; 5] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];

/// Of which a second one does not wait. The others are sent by machines, some of which repeat themselves.
const INSISTING: [c_int; 2] = [SIGINT, SIGTERM];

/// Set by the first signal that asks to stop; a SIGINT or SIGTERM behind it ends the program at once. A signal that was
/// ignored when the program started, as `nohup` has it, stays ignored.
///
/// # Errors
/// When the system does not let signals be caught.
pub fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let ignored = ignored();
    for signal in ASKING.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
        let register = || {
            if INSISTING.contains(&signal) {
                signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
            }
            signal_hook::flag::register(signal, stop.clone())
        };
        register().map_err(|error| Failure::Run(error.into()))?;
    }
    Ok(stop)
}

/// The signals that are ignored, the first in the lowest bit; none where the system does not say.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
