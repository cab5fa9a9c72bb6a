//! The runs of a folder, looked through again and again by one thread and kept in memory for all who ask.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use data::TaskRegistry;
use rayon::prelude::*;
use run::{RunDir, RunError};
use trainer::runs_below;

use crate::entry::{Entry, Phase};
use crate::list::List;

/// How often the runs that train are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// All runs are looked at for at most this share of the time, …
const SHARE: u32 = 20;

/// … but no less often than this.
const RARELY: Duration = Duration::from_secs(30);

/// Runs that are read before the list is shown with what is known so far.
const AT_A_TIME: usize = 256;

/// The runs of a folder by their names, which are their paths in it.
pub(crate) type Entries = BTreeMap<String, Arc<Entry>>;

/// A folder, and the runs in it as they were when it was looked through last.
#[derive(Debug)]
pub(crate) struct Catalogue {
    root: PathBuf,
    list: RwLock<Arc<List>>,
}

impl Catalogue {
    /// Of the folder `root`, which has no links in its path.
    pub(crate) fn new(root: PathBuf) -> Self {
        let list = RwLock::new(Arc::new(List::new(&root, Entries::new(), None)));
        Self { root, list }
    }

    /// The list as it is now.
    pub(crate) fn list(&self) -> Arc<List> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds the runs that are there, and shows new ones before they are read.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn find(&self) -> Result<Entries, RunError> {
        let before = self.list();
        let known = |(name, run): (String, RunDir)| match before.entries.get(&name) {
            Some(entry) => (name, entry.clone()),
            None => (name.clone(), Arc::new(Entry::unread(name, run))),
        };
        let entries: Entries = self.runs()?.into_iter().map(known).collect();
        self.show(entries.clone(), None);
        Ok(entries)
    }

    /// Looks through the folder and reads what was changed. What is known is shown on the way.
    fn look(&self, registry: &TaskRegistry) {
        let mut entries = match self.find() {
            Ok(entries) => entries,
            Err(error) => return self.show(self.list().entries.clone(), Some(error.to_string())),
        };
        let names: Vec<String> = entries.keys().cloned().collect();
        for names in names.chunks(AT_A_TIME) {
            self.read(names, &mut entries, registry);
            if self.list().made.elapsed() > PERIOD / 2 {
                self.show(entries.clone(), None);
            }
        }
        self.show(entries, None);
    }

    /// Looks at the runs that train, alone.
    fn look_at_running(&self, registry: &TaskRegistry) {
        let before = self.list();
        let mut entries = before.entries.clone();
        let running = entries.iter().filter(|(_, entry)| entry.line.state == Phase::Running);
        let names: Vec<String> = running.map(|(name, _)| name.clone()).collect();
        self.read(&names, &mut entries, registry);
        self.show(entries, before.problem.clone());
    }

    /// Reads those of the named runs that were changed.
    fn read(&self, names: &[String], entries: &mut Entries, registry: &TaskRegistry) {
        let read = |name: &String| {
            let entry = &entries[name];
            let new = entry.is_outdated().then(|| entry.read_again(&self.root, registry))?;
            // A list of the same entries is the same list.
            (!new.is_as(entry)).then(|| (name.clone(), Arc::new(new)))
        };
        let changed: Vec<_> = names.par_iter().filter_map(read).collect();
        entries.extend(changed);
    }

    /// The runs that are there.
    fn runs(&self) -> Result<Vec<(String, RunDir)>, RunError> {
        let runs = match RunDir::open(&self.root) {
            Ok(run) => vec![run],
            Err(_) => runs_below(&self.root)?,
        };
        Ok(runs.into_iter().map(|run| (self.name_of(&run), run)).collect())
    }

    /// A run's path in the folder; where the folder is the run, its name.
    fn name_of(&self, run: &RunDir) -> String {
        let inside = run.path().strip_prefix(&self.root).unwrap_or(run.path());
        let whole = || run.path().file_name().map(|name| name.to_string_lossy().into_owned());
        match inside.as_os_str().is_empty() {
            true => whole().unwrap_or_default(),
            false => inside.to_string_lossy().into_owned(),
        }
    }

    fn show(&self, entries: Entries, problem: Option<String>) {
        let before = self.list();
        if !before.is_of(&entries, problem.as_deref()) {
            let list = before.with(&self.root, entries, problem);
            *self.list.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
        }
    }
}

/// Looks through the folder until nobody asks any more.
pub(crate) fn watch(catalogue: Weak<Catalogue>, registry: &TaskRegistry) {
    let mut next = Instant::now();
    loop {
        let Some(catalogue) = catalogue.upgrade() else { return };
        let began = Instant::now();
        if began >= next {
            catalogue.look(registry);
            next = Instant::now() + (SHARE * began.elapsed()).clamp(PERIOD, RARELY);
        } else {
            catalogue.look_at_running(registry);
        }
        drop(catalogue);
        thread::sleep(PERIOD.min(next.saturating_duration_since(Instant::now())));
    }
}
