//! Being asked to stop.
//!
//! Work that would be lost asks not to be ended while it goes on, and looks whether it is asked to stop; all other work is
//! ended where it is, since every file is written whole or not at all. So a program leaves soon whatever it is at, and what
//! it is at need not know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use self::system::{exit, hear};
use crate::failure::INTERRUPTED;
use crate::{Failure, note};

#[cfg_attr(unix, path = "signals/unix.rs")]
#[cfg_attr(windows, path = "signals/windows.rs")]
mod system;

/// How long a program that nothing holds may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Whether a program is asked to stop, and what must be done before.
#[derive(Debug, Default)]
pub struct Stop {
    asked: AtomicBool,
    work: Mutex<Work>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// Pieces of work that are not to be ended now.
    held: usize,
    /// Those that there ever were.
    begun: usize,
    /// What is said when the program is ended.
    farewell: Option<String>,
}

/// While it is there, the program is not ended.
#[derive(Debug)]
pub struct Held<'a>(&'a Stop);

impl Stop {
    /// Of work that is not asked to stop but by [`ask`](Self::ask).
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to stop.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Asks to stop.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Keeps the program from being ended until what comes back is dropped: it is then that a signal is to be looked for.
    pub fn hold(&self) -> Held<'_> {
        let mut work = self.work();
        work.held += 1;
        work.begun += 1;
        Held(self)
    }

    /// Sets what is said when the program is ended.
    pub fn on_exit_say(&self, farewell: String) {
        self.work().farewell = Some(farewell);
    }

    /// Waits until nothing is held, and nothing was for a while.
    fn wait_until_idle(&self) {
        loop {
            let work = self.released.wait_while(self.work(), |work| work.held > 0);
            let begun = work.unwrap_or_else(PoisonError::into_inner).begun;
            thread::sleep(GRACE);
            let work = self.work();
            if work.held == 0 && work.begun == begun {
                return;
            }
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.work().held -= 1;
        self.0.released.notify_all();
    }
}

static LISTENING: OnceLock<Arc<Stop>> = OnceLock::new();

/// Listens to signals from now on. The first one asks to stop, and ends the program with exit code 130 as soon as nothing is
/// held, `leave` being called before; one that insists, a SIGINT or SIGTERM, ends the program at once if it is not the first. A
/// signal that was ignored when the program started, as `nohup` has it, stays ignored.
///
/// # Errors
/// When the system does not let signals be caught.
pub fn listen(leave: fn()) -> Result<(), Failure> {
    if LISTENING.get().is_some() {
        return Ok(());
    }
    let stop = LISTENING.get_or_init(Arc::default);
    hear(move |insists| heard(stop, insists, leave)).map_err(|error| Failure::Run(error.into()))
}

/// What signals set, where the program listens to them; otherwise nobody asks to stop.
pub fn stop_signal() -> Arc<Stop> {
    LISTENING.get().cloned().unwrap_or_default()
}

fn heard(stop: &'static Stop, insists: bool, leave: fn()) {
    if !stop.is_asked() {
        stop.ask();
        // Whoever hears goes on to listen.
        thread::spawn(move || {
            stop.wait_until_idle();
            leave();
            let farewell = stop.work().farewell.take();
            let unchanged = "interrupted; what was there before is unchanged, and the same command starts again";
            note(farewell.as_deref().unwrap_or(unchanged));
            exit(INTERRUPTED);
        });
    } else if insists {
        exit(INTERRUPTED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_waited_for_and_what_goes_on_soon_is_too() {
        let stop = Arc::new(Stop::new());
        let (held, done) = (stop.clone(), Arc::new(AtomicBool::new(false)));
        let noted = done.clone();
        let work = thread::spawn(move || {
            for _ in 0..2 {
                let _held = held.hold();
                thread::sleep(GRACE / 4);
            }
            noted.store(true, Ordering::Relaxed);
        });
        stop.wait_until_idle();
        assert!(done.load(Ordering::Relaxed));
        work.join().unwrap();
    }
}
