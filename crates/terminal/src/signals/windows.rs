//! Ctrl-C and Ctrl-Break, which are all that Windows has of signals. When the window of a console is closed, the system ends
//! the program without waiting.

use std::io;
pub(super) use std::process::exit;

/// Calls `heard` at each of them; all insist.
pub(super) fn hear(mut heard: impl FnMut(bool) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || heard(true)).map_err(io::Error::other)
}
