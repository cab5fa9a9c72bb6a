//! Every change that a program makes to the disk, one function a change. Nothing else here makes one, so a test can let
//! any of them fail: each asks [`faults`](crate::faults) first, which costs nothing beside what it costs itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::faults::{pass, portion};

/// Makes a folder, and those around it, where they are not there.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    pass("create", path)?;
    fs::create_dir_all(path)
}

/// Makes a folder that must not be there.
pub(crate) fn create_new_folder(path: &Path) -> io::Result<()> {
    pass("create", path)?;
    fs::create_dir(path)
}

/// Writes a file from its beginning, down to the disk: what gets its name afterwards is whole even if the machine stops.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    pass("create", path)?;
    let mut file = File::create(path)?;
    put(&mut file, path, bytes)?;
    pass("flush", path)?;
    file.sync_all()
}

/// As [`write`], into a file that must be there and keeps what is behind the bytes.
pub(crate) fn write_into(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    put(&mut file, path, bytes)?;
    pass("flush", path)?;
    file.sync_all()
}

/// Writes behind the end of a file, which is made if it is not there. It may not be on the disk before [`sync`].
pub(crate) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(&mut OpenOptions::new().create(true).append(true).open(path)?, path, bytes)
}

/// Sees to it that a file, or which names a folder has, is on the disk.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    // Windows flushes no folder: there the file system's journal decides when a name is on the disk.
    if cfg!(windows) && path.is_dir() {
        return Ok(());
    }
    // Some systems flush only what is open for writing, and a folder cannot be.
    let file = if path.is_dir() { File::open(path)? } else { OpenOptions::new().append(true).open(path)? };
    pass("flush", path)?;
    file.sync_all()
}

/// Gives a file or folder another name, in one step.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    pass("rename", from)?;
    fs::rename(from, to)
}

/// Removes a file, or a link.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    // What is not there is not removed.
    if path.exists() || path.is_symlink() {
        pass("remove", path)?;
    }
    fs::remove_file(path)
}

/// Removes a folder that is empty.
pub(crate) fn remove_empty_folder(path: &Path) -> io::Result<()> {
    pass("remove", path)?;
    fs::remove_dir(path)
}

/// Removes a folder with all that is in it.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    pass("remove", path)?;
    fs::remove_dir_all(path)
}

fn put(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (lands, outcome) = portion("write", path, bytes.len());
    file.write_all(&bytes[..lands])?;
    outcome
}
