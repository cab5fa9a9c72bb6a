//! Faults of a disk, for tests: any change below a folder can be let fail, and what the program then says and leaves
//! behind be looked at.
//!
//! A [`Watch`] lists the changes that a program makes below its folder, and lets one of them meet a [`Fault`]. Outside of
//! that folder, and where nobody watches, everything is as it was.
//!
//! ```
//! use record::faults::{Fault, Watch};
//!
//! let place = tempfile::tempdir().unwrap();
//! let file = place.path().join("file");
//! record::write_whole(&file, b"old").unwrap();
//! // Under another name it is made, written, flushed; the fourth change is to give it its own.
//! let watch = Watch::with(place.path(), 4, Fault::Cut);
//! assert!(record::write_whole(&file, b"new").is_err());
//! assert_eq!(watch.changes()[3].what, "rename");
//! assert_eq!(std::fs::read(&file).unwrap(), b"old");
//! ```

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// What happens to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is refused.
    Error,
    /// Half of what it writes is written, and then it is refused.
    Short,
    /// As `Short`, and from then on nothing can be made or written: the disk is full.
    Full,
    /// As `Short`, and from then on nothing happens any more: the machine has stopped.
    Cut,
}

/// A change that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskChange {
    /// `create`, `write`, `flush`, `rename` or `remove`.
    pub what: &'static str,
    /// The file or folder, under the name that it had before.
    pub path: PathBuf,
    /// How many bytes it was to write.
    pub bytes: usize,
}

/// Looks on while a program changes what is below a folder, until it is dropped.
#[derive(Debug)]
pub struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    folder: PathBuf,
    /// The number of a change, from 1 on, and what happens to it.
    fault: Option<(usize, Fault)>,
    changes: Mutex<Vec<DiskChange>>,
}

static WATCHED: RwLock<Vec<Arc<Watched>>> = RwLock::new(Vec::new());

impl Watch {
    /// Of what is below `folder`, where all goes well.
    pub fn of(folder: &Path) -> Self {
        Self::start(folder, None)
    }

    /// Of what is below `folder`, where the change of that number, from 1 on, meets `fault`.
    pub fn with(folder: &Path, number: usize, fault: Fault) -> Self {
        Self::start(folder, Some((number, fault)))
    }

    fn start(folder: &Path, fault: Option<(usize, Fault)>) -> Self {
        let watched = Arc::new(Watched { folder: folder.to_owned(), fault, changes: Mutex::default() });
        WATCHED.write().unwrap_or_else(PoisonError::into_inner).push(watched.clone());
        Self(watched)
    }

    /// What was asked for until now, with what failed.
    pub fn changes(&self) -> Vec<DiskChange> {
        self.0.changes().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.write().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

impl DiskChange {
    /// Whether it needs room on the disk.
    pub fn grows(&self) -> bool {
        matches!(self.what, "create" | "write")
    }
}

impl Watched {
    fn changes(&self) -> MutexGuard<'_, Vec<DiskChange>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`portion`].
    fn portion(&self, change: DiskChange) -> (usize, Result<()>) {
        let (grows, bytes) = (change.grows(), change.bytes);
        let mut changes = self.changes();
        changes.push(change);
        let number = changes.len();
        match self.fault {
            Some((at, Fault::Error)) if number == at => (0, refused()),
            Some((at, Fault::Short | Fault::Cut)) if number == at => (bytes / 2, refused()),
            Some((at, Fault::Cut)) if number > at => (0, refused()),
            Some((at, Fault::Full)) if number == at => (bytes / 2, Err(ErrorKind::StorageFull.into())),
            Some((at, Fault::Full)) if number > at && grows => (0, Err(ErrorKind::StorageFull.into())),
            _ => (bytes, Ok(())),
        }
    }
}

fn refused() -> Result<()> {
    Err(Error::other("a fault of a test"))
}

/// Whether a change that writes nothing is made.
pub(crate) fn pass(what: &'static str, path: &Path) -> Result<()> {
    portion(what, path, 0).1
}

/// How many of the bytes that a change writes are written, and what comes of it.
pub(crate) fn portion(what: &'static str, path: &Path, bytes: usize) -> (usize, Result<()>) {
    let watched = WATCHED.read().unwrap_or_else(PoisonError::into_inner);
    match watched.iter().find(|watched| path.starts_with(&watched.folder)) {
        None => (bytes, Ok(())),
        Some(watched) => watched.portion(DiskChange { what, path: path.to_owned(), bytes }),
    }
}
