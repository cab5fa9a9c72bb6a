//! The right to write to a folder, on a disk that several machines may share.
//!
//! The lock is the folder `run.lock` with one file in it, which names the holder. It is made under another name and then
//! renamed, which a file system does in one step, and only where there is nothing or an empty folder: of all who try at
//! the same time one succeeds, on network disks as well. Every holder's file has a name that no other ever has. So the
//! file of a holder that is gone can be removed by whoever sees that, however late: it never is the file of the next one.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory, NotFound};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crate::{Holder, RecordError, disk};

const NAME: &str = "run.lock";

/// How often a holder shows that it is still there.
const RENEWAL: Duration = Duration::from_secs(20);

/// After how long without renewal a holder that cannot be seen from here counts as gone. Some renewals may be late, and
/// network disks show a change up to a minute later.
const PATIENCE: Duration = Duration::from_secs(120);

/// The files of locks that this process has or is about to take, by their names. A file of this process that is not among
/// them was given back, though the disk did not let it be removed.
static HELD: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The right to write to a folder, until dropped.
#[derive(Debug)]
pub struct Lock {
    file: PathBuf,
    renewal: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lock {
    pub(crate) fn take(folder: &Path) -> Result<Self, RecordError> {
        let place = folder.join(NAME);
        let fail = |error| RecordError::io("lock", folder, error);
        loop {
            if let Some(holder) = holder(&place).map_err(fail)? {
                return Err(RecordError::Locked { path: folder.to_owned(), holder: Box::new(holder) });
            }
            let text = toml::to_string(&Holder::here()).expect("strings and small integers are TOML");
            if let Some(file) = occupy(&place, text.as_bytes()).map_err(fail)? {
                let mut lock = Self { file, renewal: None };
                lock.renewal = Some(lock.start_renewal(text).map_err(fail)?);
                remove_remains(folder);
                return Ok(lock);
            }
        }
    }

    fn start_renewal(&self, text: String) -> io::Result<(Sender<()>, JoinHandle<()>)> {
        let (held, dropped) = mpsc::channel();
        let file = self.file.clone();
        let renew = move || {
            while dropped.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
                // What the file says already, so that the disk notes the time. What fails now may succeed the next time, and
                // what is not there any more is not made again.
                let _ = disk::write_into(&file, text.as_bytes());
            }
        };
        Ok((held, thread::Builder::new().name(NAME.to_owned()).spawn(renew)?))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some((held, thread)) = self.renewal.take() {
            drop(held);
            // A file that is open while it is removed leaves another behind on network disks.
            let _ = thread.join();
        }
        give_back(&self.file);
        held().remove(&name_of(&self.file));
    }
}

/// Gives back all locks of this process, which is about to end.
pub(crate) fn release_all() {
    held().values().for_each(|file| give_back(file));
}

fn give_back(file: &Path) {
    let _ = disk::remove_file(file);
    if let Some(place) = file.parent() {
        // Unless the next one has it already.
        let _ = disk::remove_empty_folder(place);
    }
}

/// Who holds the lock; the file of a holder that is gone is removed.
fn holder(place: &Path) -> io::Result<Option<Holder>> {
    for file in files_in(place)? {
        match holder_by(&file, place)? {
            Some(holder) => return Ok(Some(holder)),
            None => drop(unless_gone(disk::remove_file(&file))?),
        }
    }
    Ok(None)
}

/// Who holds the lock of `folder`; what cannot be read says of nobody, and nothing is removed.
pub(crate) fn seen(folder: &Path) -> Option<Holder> {
    let place = folder.join(NAME);
    let files = fs::read_dir(&place).ok()?.flatten();
    files.filter_map(|file| holder_by(&file.path(), &place).ok()?).next()
}

/// The process that a lock's file names, if it has the lock.
fn holder_by(file: &Path, place: &Path) -> io::Result<Option<Holder>> {
    // A file that names no holder is what a power failure may leave of one.
    let named = unless_gone(fs::read(file))?.and_then(|bytes| toml::from_slice::<Holder>(&bytes).ok());
    match named {
        Some(holder) if holds(&holder, file, place)? => Ok(Some(holder)),
        _ => Ok(None),
    }
}

/// Whether the process that a lock's file names has the lock.
fn holds(holder: &Holder, file: &Path, place: &Path) -> io::Result<bool> {
    match holder.lives() {
        Some(true) if *holder == Holder::here() => Ok(held().contains_key(&name_of(file))),
        Some(lives) => Ok(lives),
        None => was_renewed(file, place),
    }
}

fn files_in(place: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(place) {
        // Earlier programs locked a file, which stayed. It may be a folder by now, which this leaves as it is.
        Err(error) if error.kind() == NotADirectory => {
            let _ = disk::remove_file(place);
            Ok(Vec::new())
        }
        entries => match unless_gone(entries)? {
            Some(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            None => Ok(Vec::new()),
        },
    }
}

/// Whether the file was written to not long ago. The clock of this host may be ahead of that of the disk, so it does not
/// decide that a holder is gone, but only whether the disk is asked.
fn was_renewed(file: &Path, place: &Path) -> io::Result<bool> {
    let Some(renewed) = unless_gone(fs::metadata(file).and_then(|file| file.modified()))? else { return Ok(false) };
    let is_recent = |now: SystemTime| now.duration_since(renewed).unwrap_or_default() < PATIENCE;
    Ok(is_recent(SystemTime::now()) || is_recent(clock_of_the_disk(place)?))
}

fn clock_of_the_disk(place: &Path) -> io::Result<SystemTime> {
    let file = beside(place, &unique_name());
    let now = disk::write(&file, b"now").and_then(|()| fs::metadata(&file)?.modified());
    let _ = disk::remove_file(&file);
    now
}

/// Puts a file with `text` into the lock's folder and returns its path; `None` where another has it.
fn occupy(place: &Path, text: &[u8]) -> io::Result<Option<PathBuf>> {
    let name = unique_name();
    let made = beside(place, &name);
    disk::create_new_folder(&made)?;
    held().insert(name.clone(), place.join(&name));
    let renamed = disk::write(&made.join(&name), text).and_then(|()| disk::rename(&made, place));
    // What lies there is what counts: over a network the answer to a rename may be lost, and that to its repetition is an
    // error.
    let file = place.join(&name);
    if file.exists() {
        return Ok(Some(file));
    }
    held().remove(&name);
    let _ = disk::remove_folder(&made);
    match renamed {
        // Another has it, or took what was made for the remains of one that stopped.
        Err(error) if !matches!(error.kind(), DirectoryNotEmpty | AlreadyExists | NotFound) => Err(error),
        _ => Ok(None),
    }
}

/// Removes what those left who stopped while they took the lock of `folder`, or asked for the time. It is in nobody's
/// way, so what cannot be removed stays.
fn remove_remains(folder: &Path) {
    let is_old = |path: &Path| {
        let modified = fs::metadata(path).and_then(|there| there.modified());
        modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > PATIENCE))
    };
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if name_of(&path).starts_with(&format!("{NAME}.")) && is_old(&path) {
            let _ = if path.is_dir() { disk::remove_folder(&path) } else { disk::remove_file(&path) };
        }
    }
}

fn beside(place: &Path, name: &str) -> PathBuf {
    place.with_file_name(format!("{NAME}.{name}"))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn held() -> MutexGuard<'static, BTreeMap<String, PathBuf>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that nothing else ever has, on any host: 64 bits from the system's source of randomness.
fn unique_name() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// `None` where what it is about is not there, or not any more.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Barrier;

    use super::*;
    use crate::Folder;
    use crate::faults::{Fault, Watch};

    fn refused(folder: &Path) -> Holder {
        match Folder::at(folder).lock() {
            Err(RecordError::Locked { path, holder }) if path == folder => *holder,
            other => panic!("{other:?}"),
        }
    }

    /// Makes the lock of `folder` one that `change` of this process holds.
    fn held_by(folder: &Path, change: impl Fn(&mut toml::Table)) -> PathBuf {
        let mut holder = toml::Table::try_from(Holder::here()).unwrap();
        change(&mut holder);
        occupy(&folder.join(NAME), holder.to_string().as_bytes()).unwrap().unwrap()
    }

    fn elsewhere(holder: &mut toml::Table) {
        holder.insert("host".to_owned(), "elsewhere".into());
        holder.insert("within".to_owned(), "another boot".into());
    }

    fn written_ago(file: &Path, ago: Duration) {
        File::options().write(true).open(file).unwrap().set_modified(SystemTime::now() - ago).unwrap();
    }

    #[test]
    fn a_lock_is_refused_with_its_holder_while_it_is_held_and_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        let lock = folder.lock().unwrap();
        assert_eq!(refused(place.path()), Holder::here());
        assert_eq!(folder.holder(), Some(Holder::here()));
        let message = folder.lock().unwrap_err().to_string();
        let holder = format!("process {} on {}", std::process::id(), Holder::here().host);
        assert!(message.contains("is in use by another process") && message.contains(&holder), "{message}");
        drop(lock);
        assert_eq!(folder.holder(), None);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        drop(folder.lock().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_holder_that_is_gone_is_replaced_at_once() {
        let changes: [fn(&mut toml::Table); 2] = [
            |holder| drop(holder.insert("process".to_owned(), u32::MAX.into())),
            |holder| drop(holder.insert("started".to_owned(), 1.into())),
        ];
        for change in changes {
            let place = tempfile::tempdir().unwrap();
            let gone = held_by(place.path(), change);
            assert_eq!(Folder::at(place.path()).holder(), None);
            assert!(gone.exists(), "who only looks removes nothing");
            let _lock = Folder::at(place.path()).lock().unwrap();
            assert!(!gone.exists());
            assert_eq!(refused(place.path()), Holder::here());
        }
    }

    #[test]
    fn a_holder_on_another_host_is_replaced_when_it_is_not_renewed() {
        let place = tempfile::tempdir().unwrap();
        let file = held_by(place.path(), elsewhere);
        assert_eq!(refused(place.path()).host, "elsewhere");
        written_ago(&file, PATIENCE - RENEWAL);
        assert_eq!(refused(place.path()).host, "elsewhere");
        // Clocks that differ are no reason to take it.
        File::options().write(true).open(&file).unwrap().set_modified(SystemTime::now() + PATIENCE * 9).unwrap();
        assert_eq!(refused(place.path()).host, "elsewhere");
        written_ago(&file, PATIENCE + RENEWAL);
        disk::write_into(&file, &fs::read(&file).unwrap()).unwrap();
        assert_eq!(refused(place.path()).host, "elsewhere");
        written_ago(&file, PATIENCE + RENEWAL);
        let _lock = Folder::at(place.path()).lock().unwrap();
        // It comes back, and has no part in what another holds now.
        assert_eq!(disk::write_into(&file, b"late").unwrap_err().kind(), NotFound);
        drop(Lock { file, renewal: None });
        assert_eq!(refused(place.path()), Holder::here());
    }

    #[test]
    fn what_an_earlier_program_or_a_power_failure_left_is_no_lock() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(NAME), "").unwrap();
        drop(Folder::at(place.path()).lock().unwrap());
        fs::create_dir(place.path().join(NAME)).unwrap();
        drop(Folder::at(place.path()).lock().unwrap());
        occupy(&place.path().join(NAME), b"").unwrap().unwrap();
        drop(Folder::at(place.path()).lock().unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_given_back_is_free_though_its_file_stayed() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        let lock = folder.lock().unwrap();
        let watch = Watch::with(place.path(), 1, Fault::Error);
        drop(lock);
        drop(watch);
        assert!(place.path().join(NAME).exists());
        drop(folder.lock().unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_stopped_while_it_took_the_lock_is_cleared_away_after_a_while() {
        let place = tempfile::tempdir().unwrap();
        for number in 1..=5 {
            let watch = Watch::with(place.path(), number, Fault::Cut);
            assert!(Folder::at(place.path()).lock().is_err());
            drop(watch);
            let remains = || fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path());
            assert_eq!(remains().count(), usize::from(number > 1), "another may be about to take it");
            remains().for_each(|path| {
                File::open(path).unwrap().set_modified(SystemTime::now() - PATIENCE * 2).unwrap();
            });
            drop(Folder::at(place.path()).lock().unwrap());
            assert_eq!(remains().count(), 0);
        }
    }

    #[test]
    fn of_many_that_replace_a_holder_one_gets_the_lock() {
        const THREADS: usize = 16;
        for _ in 0..50 {
            let place = tempfile::tempdir().unwrap();
            written_ago(&held_by(place.path(), elsewhere), PATIENCE * 2);
            let start = Barrier::new(THREADS);
            let race = || {
                start.wait();
                Folder::at(place.path()).lock()
            };
            // All are kept until the last one has tried.
            let results: Vec<_> = thread::scope(|scope| {
                let racing: Vec<_> = (0..THREADS).map(|_| scope.spawn(race)).collect();
                racing.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
            assert!(
                results
                    .iter()
                    .flat_map(|result| result.as_ref().err())
                    .all(|error| matches!(error, RecordError::Locked { .. }))
            );
            drop(results);
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn who_waits_for_a_turn_gets_it_alone() {
        let place = tempfile::tempdir().unwrap();
        let count = place.path().join("count");
        fs::write(&count, "0").unwrap();
        let work = || {
            for _ in 0..5 {
                let _turn = Folder::at(place.path()).lock_in_turn().unwrap();
                let before: usize = fs::read_to_string(&count).unwrap().parse().unwrap();
                fs::write(&count, (before + 1).to_string()).unwrap();
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert_eq!(fs::read_to_string(&count).unwrap(), "20");
    }
}
