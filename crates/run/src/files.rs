//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::{RunError, io_error};

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    write_together(&[(path, bytes)])
}

/// Writes files that belong together, and makes their folders. Each has another name first and none gets its own before
/// all are whole; where one cannot be written, nothing of them stays.
///
/// # Errors
/// When the disk fails; names the file.
pub fn write_together(files: &[(impl AsRef<Path>, impl AsRef<[u8]>)]) -> Result<(), RunError> {
    let partial = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        PathBuf::from(name)
    };
    let each = |action: &dyn Fn(&Path, &[u8]) -> std::io::Result<()>| {
        files.iter().try_for_each(|(path, bytes)| {
            let path = path.as_ref();
            action(path, bytes.as_ref()).map_err(|error| io_error("write", path, error))
        })
    };
    let write = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        write_through(&partial(path), bytes)
    };
    let written = each(&write).and_then(|()| each(&|path, _| fs::rename(partial(path), path)));
    if written.is_err() {
        // What has its own name already, or was never begun, is not there to be removed.
        files.iter().for_each(|(path, _)| drop(fs::remove_file(partial(path.as_ref()))));
    }
    written
}

/// Writes a file, down to the disk: what gets its name afterwards is whole even if the machine stops.
pub(crate) fn write_through(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<(), RunError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}

pub(crate) fn create_folder(path: &Path) -> Result<(), RunError> {
    fs::create_dir_all(path).map_err(|error| io_error("create", path, error))
}
