//! Long work on a terminal: a bar with the time left, and a signal that ends it.

use std::sync::Arc;
use std::sync::Mutex;

use terminal::{Progress, Stop, stop_signal};

/// Long work: what it has come to is shown, and a signal to stop is seen.
#[derive(Debug)]
pub(super) struct Work {
    stop: Arc<Stop>,
    shown: Mutex<Option<(usize, Progress)>>,
    name: Mutex<String>,
}

impl Work {
    /// Nothing is done yet.
    pub(super) fn new() -> Self {
        Self { stop: stop_signal(), shown: Mutex::default(), name: Mutex::default() }
    }

    /// Names what is worked at from now on.
    pub(super) fn name(&self, name: &str) {
        if let Ok(mut shown) = self.name.lock() {
            name.clone_into(&mut shown);
        }
    }

    /// Set when the work is to stop.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Shows that `done` of `total` steps are done, and says whether to go on.
    pub(super) fn watch(&self, done: usize, total: usize) -> bool {
        self.say(done, total, String::new());
        !self.stop.is_asked()
    }

    /// Shows that `done` of `total` steps are done, and something beside it.
    pub(super) fn say(&self, done: usize, total: usize, beside: String) {
        // Who does not get to the bar goes on with the work.
        let Ok(mut shown) = self.shown.try_lock() else { return };
        // Of several threads, that with the first step need not be the first to get here.
        let goes_on = |(length, progress): &(usize, Progress)| *length == total && progress.first() <= done && done > 0;
        let begins = !shown.as_ref().is_some_and(goes_on);
        if begins {
            shown.insert((total, Progress::new("step", total))).1.go_on_at(done);
        }
        let Some((_, progress)) = shown.as_mut() else { return };
        progress.reach(done);
        // Of how long a step takes nothing is known yet.
        if !begins {
            let name = self.name.lock().map(|name| name.clone()).unwrap_or_default();
            let said = [name, beside, format!("{} left", progress.left(done))];
            progress.tell(done, said.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("  "));
        }
    }
}
