//! Signals, each with its number.

use std::ffi::c_int;
use std::{fs, io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
pub(super) use signal_hook::low_level::exit;

/// What asks a program to stop: a person, the system, a terminal that closes, and what Slurm and submitit send ahead of a
/// time limit.
const ASKING: [c_int; 5] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];

/// Of which a second one does not wait. The others are sent by machines, some of which repeat themselves.
const INSISTING: [c_int; 2] = [SIGINT, SIGTERM];

/// Calls `heard` at each signal that asks to stop, with whether it insists. One that was ignored when the program started
/// stays ignored.
pub(super) fn hear(mut heard: impl FnMut(bool) + Send + 'static) -> io::Result<()> {
    let ignored = ignored();
    let mut signals = Signals::new(ASKING.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    let listen = move || signals.forever().for_each(|signal| heard(INSISTING.contains(&signal)));
    thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop)
}

/// The signals that are ignored, the first in the lowest bit; none where the system does not say, as only Linux does.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
