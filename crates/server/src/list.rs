//! The list of all runs as one document, made when something changed and handed out as it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use serde::Serialize;

use crate::catalogue::Entries;
use crate::entry::Line;

/// The list as it was at a time.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) entries: Entries,
    /// Why the folder could not be looked through.
    pub(crate) problem: Option<String>,
    pub(crate) made: Instant,
    /// The settings of all runs, as JSON.
    settings: Arc<str>,
    /// The whole document, as JSON.
    pub(crate) document: Bytes,
    /// Which document it is.
    pub(crate) version: u64,
}

/// What stands in the document beside the settings.
#[derive(Serialize)]
struct Head<'a> {
    folder: String,
    problem: Option<&'a str>,
    runs: Vec<&'a Line>,
}

/// The settings of all runs: a value once, and the number of it for every run.
#[derive(Default, Serialize)]
struct Settings<'a> {
    /// Those that all runs have alike.
    same: BTreeMap<&'a str, &'a str>,
    /// The others.
    varying: BTreeMap<&'a str, Varying<'a>>,
}

#[derive(Default, Serialize)]
struct Varying<'a> {
    values: Vec<&'a str>,
    /// For every run the place of its value; none where it has no such setting.
    of: Vec<Option<usize>>,
}

impl List {
    /// The first list of the folder `root`.
    pub(crate) fn new(root: &Path, entries: Entries, problem: Option<String>) -> Self {
        let settings = settings(&entries);
        Self::made(root, entries, problem, settings, 0)
    }

    /// The list that follows.
    pub(crate) fn with(&self, root: &Path, entries: Entries, problem: Option<String>) -> Self {
        let pairs = || self.entries.iter().zip(&entries);
        let same = self.entries.len() == entries.len()
            && pairs().all(|((name, old), (other, new))| name == other && same_settings(&old.settings, &new.settings));
        let settings = if same { self.settings.clone() } else { settings(&entries) };
        Self::made(root, entries, problem, settings, self.version + 1)
    }

    fn made(root: &Path, entries: Entries, problem: Option<String>, settings: Arc<str>, version: u64) -> Self {
        let runs = entries.values().map(|entry| &entry.line).collect();
        let head = Head { folder: root.display().to_string(), problem: problem.as_deref(), runs };
        let head = serde_json::to_string(&head).expect("numbers and text have a JSON form");
        let document = format!("{},\"settings\":{settings}}}", head.strip_suffix('}').expect("it is an object"));
        Self { entries, problem, made: Instant::now(), settings, document: document.into(), version }
    }

    /// Whether it is the list of those.
    pub(crate) fn is_of(&self, entries: &Entries, problem: Option<&str>) -> bool {
        let same = |((name, old), (other, new)): ((&String, &_), (&String, &_))| name == other && Arc::ptr_eq(old, new);
        self.problem.as_deref() == problem
            && self.entries.len() == entries.len()
            && self.entries.iter().zip(entries).all(same)
    }
}

/// Whether both are the same, which they mostly are without being looked at.
fn same_settings(old: &Arc<BTreeMap<String, String>>, new: &Arc<BTreeMap<String, String>>) -> bool {
    Arc::ptr_eq(old, new) || old == new
}

/// The settings of all runs as JSON.
fn settings(entries: &Entries) -> Arc<str> {
    let all = || entries.values().map(|entry| &entry.settings);
    let fields: BTreeSet<&str> = all().flat_map(|settings| settings.keys().map(String::as_str)).collect();
    let mut settings = Settings::default();
    for field in fields {
        let mut varying = Varying::default();
        let mut places = HashMap::new();
        for of in all() {
            let place = of.get(field).map(|value| {
                *places.entry(value.as_str()).or_insert_with(|| {
                    varying.values.push(value);
                    varying.values.len() - 1
                })
            });
            varying.of.push(place);
        }
        // What is damaged or not yet read has no settings, and says nothing of others.
        let is_missing = all().any(|of| !of.is_empty() && !of.contains_key(field));
        match (varying.values.as_slice(), is_missing) {
            ([only], false) => drop(settings.same.insert(field, only)),
            _ => drop(settings.varying.insert(field, varying)),
        }
    }
    serde_json::to_string(&settings).expect("text has a JSON form").into()
}
