//! The page of a run or of several, made when it is asked for and kept until the run has something else to show.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use analysis::explored;
use data::TaskRegistry;
use model::Device;
use plots::explore::Exploration;
use run::RunDir;

use crate::catalogue::Catalogue;
use crate::entry::Entry;

/// Pages that are kept.
const KEPT: usize = 12;

/// Runs of a page at most: each is read as a whole.
pub(crate) const MOST_RUNS: usize = 16;

/// A page is made anew for at most this share of the time, so that who looks at a training hardly slows it down.
const SHARE: u32 = 10;

/// Pages that were made.
#[derive(Debug)]
pub(crate) struct Pages {
    registry: TaskRegistry,
    states: Option<usize>,
    on: (Device, usize),
    kept: Mutex<VecDeque<(Vec<String>, Kept)>>,
    /// Whoever makes a page has it: one is made at a time.
    making: Mutex<()>,
}

/// The page of some runs, as soon as it was made once.
type Kept = Arc<Mutex<Option<Page>>>;

/// What a page shows.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) version: String,
    pub(crate) exploration: Arc<Exploration>,
    made: Instant,
    took: Duration,
}

/// Why there is no page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPage {
    /// None was named, or too many.
    Count(usize),
    /// There is no such run.
    Gone(String),
    /// It cannot be shown, or not yet.
    Unreadable(String),
}

impl Pages {
    /// None yet. Models are read by a device with so many threads, and as many states of each run shown as `states` says.
    pub(crate) fn new(registry: TaskRegistry, states: Option<usize>, on: (Device, usize)) -> Self {
        Self { registry, states, on, kept: Mutex::default(), making: Mutex::default() }
    }

    /// The page of the named runs: the one that is kept, if it shows what there is to show.
    ///
    /// # Errors
    /// When one of them is not there or cannot be read, or there are too many.
    pub(crate) fn get(&self, catalogue: &Catalogue, names: &[String]) -> Result<Page, NoPage> {
        if names.is_empty() || names.len() > MOST_RUNS {
            return Err(NoPage::Count(names.len()));
        }
        let list = catalogue.list();
        let entry = |name: &String| list.entries.get(name).ok_or_else(|| NoPage::Gone(name.clone()));
        let entries = names.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let versions = entries.iter().map(|entry| format!("{:016x}", entry.version()));
        let version = versions.collect::<Vec<_>>().join("-");
        let kept = self.kept(names);
        let mut kept = lock(&kept);
        let stays = |page: &&Page| page.version == version || page.made.elapsed() < SHARE * page.took;
        if let Some(page) = kept.as_ref().filter(stays) {
            return Ok(page.clone());
        }
        let page =
            self.make(&entries, version).map_err(|reason| match entries.iter().all(|entry| is_there(entry)) {
                true => NoPage::Unreadable(reason),
                false => NoPage::Gone(names.join(", ")),
            })?;
        Ok(kept.insert(page).clone())
    }

    fn make(&self, entries: &[&Arc<Entry>], version: String) -> Result<Page, String> {
        entries.iter().try_for_each(|entry| entry.readable())?;
        let _turn = lock(&self.making);
        let made = Instant::now();
        let runs: Vec<RunDir> = entries.iter().map(|entry| entry.run.clone()).collect();
        let exploration = explored(&runs, self.states, self.on, &self.registry).map_err(|error| error.to_string())?;
        Ok(Page { version, exploration: Arc::new(exploration), made, took: made.elapsed() })
    }

    /// The place of a page, before all others; the one that was asked for least recently goes.
    fn kept(&self, names: &[String]) -> Kept {
        let mut all = lock(&self.kept);
        let place = all.iter().position(|(of, _)| of == names);
        let found = place.and_then(|place| all.remove(place)).unwrap_or_else(|| (names.to_vec(), Kept::default()));
        all.push_front(found);
        all.truncate(KEPT);
        all[0].1.clone()
    }
}

impl fmt::Display for NoPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "A page is of 1 to {MOST_RUNS} runs, but {count} are named."),
            Self::Gone(name) => write!(f, "There is no run {name} in the folder. It may have been moved or deleted."),
            Self::Unreadable(reason) => f.write_str(reason),
        }
    }
}

fn is_there(entry: &Entry) -> bool {
    RunDir::open(entry.run.path()).is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
