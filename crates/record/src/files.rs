//! Files that are there whole or not at all.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::{RecordError, disk, lock};

/// Held by whoever writes, and forever by a program that leaves.
pub(crate) static WRITING: RwLock<()> = RwLock::new(());

/// To be held while something is written that is to be whole.
pub(crate) fn writing() -> RwLockReadGuard<'static, ()> {
    WRITING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until what is being written is whole, lets nothing more be written, and gives back every lock: a program that is
/// ended now leaves nothing behind.
pub fn leave() {
    std::mem::forget(WRITING.write().unwrap_or_else(PoisonError::into_inner));
    lock::release_all();
}

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// When the disk fails, or something is there that is no file; names it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    write_together(&[(path, bytes)])
}

/// Writes files that belong together, and makes their folders. Each has another name first and none gets its own before
/// all are whole; where one cannot be written, nothing of them stays. A link is followed, and stays.
///
/// # Errors
/// When the disk fails, or something is there that is no file; names it.
pub fn write_together(files: &[(impl AsRef<Path>, impl AsRef<[u8]>)]) -> Result<(), RecordError> {
    let _writing = writing();
    let through_links = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let files: Vec<(PathBuf, &[u8])> =
        files.iter().map(|(path, bytes)| (through_links(path.as_ref()), bytes.as_ref())).collect();
    files.iter().try_for_each(|(path, _)| check_free(path))?;
    let each = |action: &dyn Fn(&Path, &[u8]) -> io::Result<()>| {
        files
            .iter()
            .try_for_each(|(path, bytes)| action(path, bytes).map_err(|error| RecordError::io("write", path, error)))
    };
    let write = |path: &Path, bytes: &[u8]| {
        disk::create_folder(path.parent().unwrap_or(path))?;
        disk::write(&partial(path), bytes)
    };
    let written = each(&write).and_then(|()| each(&|path, _| disk::rename(&partial(path), path)));
    if written.is_err() {
        // What has its own name already, or was never begun, is not there to be removed.
        files.iter().for_each(|(path, _)| drop(disk::remove_file(&partial(path))));
    }
    written
}

/// Tries whether [`write_whole`] could write a file, and makes its folder; for who is to work for long before it writes.
///
/// # Errors
/// When it could not.
pub fn check_writable(path: &Path) -> Result<(), RecordError> {
    check_free(path)?;
    let trial = partial(path);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        create_folder(folder)?;
    }
    write_through(&trial, b"")?;
    remove_file(&trial)
}

/// Errors if something is there that is no file.
fn check_free(path: &Path) -> Result<(), RecordError> {
    if path.exists() && !path.is_file() {
        return Err(RecordError::Occupied { path: path.to_owned(), reason: "is not a file".to_owned() });
    }
    Ok(())
}

/// Makes a folder that must not be there yet, so that it is there whole or not at all: under another name, which `fill`
/// gets, then on the disk, then under its own. `fill` writes with [`write_through`]: [`write_whole`] would wait for itself
/// once the program is about to [`leave`].
///
/// # Errors
/// When the disk or `fill` fails; nothing of the folder stays then.
pub fn write_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<(), RecordError>) -> Result<(), RecordError> {
    let _writing = writing();
    let partial = partial(path);
    if partial.exists() {
        remove_folder(&partial)?;
    }
    let written = create_folder(&partial).and_then(|()| fill(&partial)).and_then(|()| rename(&partial, path));
    written.inspect_err(|_| drop(disk::remove_folder(&partial)))
}

/// The name of what is not whole yet.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Writes a file, down to the disk: what gets its name afterwards is whole even if the machine stops.
///
/// # Errors
/// When the disk fails.
pub fn write_through(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    disk::write(path, bytes).map_err(|error| RecordError::io("write", path, error))
}

/// Gives a file or folder another name, down to the disk.
///
/// # Errors
/// When the disk fails.
pub fn rename(from: &Path, to: &Path) -> Result<(), RecordError> {
    disk::rename(from, to).map_err(|error| RecordError::io("rename", from, error))?;
    let parent = to.parent().unwrap_or(to);
    disk::sync(parent).map_err(|error| RecordError::io("flush", parent, error))
}

/// Removes a file, if it is there.
///
/// # Errors
/// When the disk fails.
pub fn remove_file(path: &Path) -> Result<(), RecordError> {
    match disk::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RecordError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it.
///
/// # Errors
/// When the disk fails.
pub fn remove_folder(path: &Path) -> Result<(), RecordError> {
    disk::remove_folder(path).map_err(|error| RecordError::io("remove", path, error))
}

/// Removes a folder with nothing in it.
///
/// # Errors
/// When the disk fails, or something is in it.
pub fn remove_empty_folder(path: &Path) -> Result<(), RecordError> {
    disk::remove_empty_folder(path).map_err(|error| RecordError::io("remove", path, error))
}

pub(crate) fn create_folder(path: &Path) -> Result<(), RecordError> {
    let nearest = path.ancestors().find(|path| path.exists());
    if let Some(taken) = nearest.filter(|path| !path.is_dir()) {
        return Err(RecordError::Occupied { path: taken.to_owned(), reason: "is not a folder".to_owned() });
    }
    disk::create_folder(path).map_err(|error| RecordError::io("create", path, error))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_link_is_followed_and_what_is_no_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link, socket, whole] = ["target", "link", "socket", "whole"].map(|name| folder.path().join(name));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert!(link.is_symlink() && fs::read(&target).unwrap() == b"new");
        let _listener = UnixListener::bind(&socket).unwrap();
        for taken in [&socket, folder.path()] {
            let refusal = write_together(&[(whole.as_path(), b"whole"), (taken, b"never")]).unwrap_err().to_string();
            assert!(refusal.contains("not a file") && refusal.contains(taken.to_str().unwrap()), "{refusal}");
        }
        let there: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there.len(), 3, "{there:?}");
    }
}
