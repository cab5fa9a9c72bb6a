//! Long work on a terminal: a bar with the time left, and a signal that ends it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use terminal::{Failure, Progress, stop_signal};

/// Long work: what it has come to is shown, and a signal to stop is seen.
#[derive(Debug)]
pub(super) struct Work {
    stop: Arc<AtomicBool>,
    shown: Mutex<Option<(usize, Progress)>>,
    name: Mutex<String>,
}

impl Work {
    /// Begins to listen to signals.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { stop: stop_signal()?, shown: Mutex::default(), name: Mutex::default() })
    }

    /// Names what is worked at from now on.
    pub(super) fn name(&self, name: &str) {
        if let Ok(mut shown) = self.name.lock() {
            name.clone_into(&mut shown);
        }
    }

    /// Shows that `done` of `total` steps are done, and says whether to go on.
    pub(super) fn watch(&self, done: usize, total: usize) -> bool {
        // Who does not get to the bar goes on with the work.
        if let Ok(mut shown) = self.shown.try_lock() {
            if shown.as_ref().is_none_or(|(length, _)| *length != total) || done == 0 {
                *shown = Some((total, Progress::new("step", total, 0)));
            }
            if let Some((_, progress)) = shown.as_mut() {
                progress.reach(done);
                // Of the first step nothing is known.
                if done > 0 {
                    let name = self.name.lock().map(|name| name.clone()).unwrap_or_default();
                    let message = format!("{name} {} left", progress.left(done));
                    progress.tell(done, message.trim_start().to_owned());
                }
            }
        }
        !self.stop.load(Ordering::Relaxed)
    }
}
