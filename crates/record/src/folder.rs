//! A folder with tables, figures and files, and who may write to it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::{create_folder, remove_file, write_whole};
use crate::{Holder, Lock, RecordError, Row, Table, lock};

/// The report in a folder, whichever program made it.
pub const REPORT: &str = "report.html";

/// A folder with tables, figures and files.
///
/// # Errors
/// Every function fails where the disk does. What else can go wrong stands beside it.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    figures: PathBuf,
}

impl Folder {
    /// The folder at `path`, whether it is there or not, with its figures beside its tables.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { figures: path.clone(), path }
    }

    /// As [`at`](Self::at), made if it is not there.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        create_folder(path)?;
        Ok(Self::at(path))
    }

    /// The same folder with its figures in the folder `name` inside it.
    pub fn with_figures_in(self, name: &str) -> Self {
        Self { figures: self.path.join(name), path: self.path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder inside it, if it is not there.
    pub fn create_inside(&self, name: &str) -> Result<(), RecordError> {
        create_folder(&self.path.join(name))
    }

    /// The table of rows `R`.
    pub fn table<R: Row>(&self) -> Table<R> {
        Table::new(&self.path)
    }

    /// Takes the right to write. A holder whose process is gone is replaced, at once where that can be seen from here,
    /// and otherwise when it was not renewed for two minutes.
    ///
    /// # Errors
    /// When another process has it; names that.
    pub fn lock(&self) -> Result<Lock, RecordError> {
        Lock::take(&self.path)
    }

    /// Who has the right to write, as far as can be seen; nothing is taken or removed.
    pub fn holder(&self) -> Option<Holder> {
        lock::seen(&self.path)
    }

    /// As [`lock`](Self::lock), but waits while another has it: for what takes moments.
    pub fn lock_in_turn(&self) -> Result<Lock, RecordError> {
        loop {
            match self.lock() {
                Err(RecordError::Locked { .. }) => thread::sleep(Duration::from_millis(50)),
                result => return result,
            }
        }
    }

    /// Writes a file, whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
        write_whole(&self.path.join(name), bytes)
    }

    /// Writes a value as a TOML file.
    ///
    /// # Panics
    /// When TOML has no form for it: a key that is no string, or a number that does not fit.
    pub fn write_toml<T: Serialize>(&self, name: &str, value: &T) -> Result<(), RecordError> {
        let text = toml::to_string_pretty(value).unwrap_or_else(|error| panic!("{name} is no TOML: {error}"));
        self.write(name, text.as_bytes())
    }

    /// Reads a TOML file; `None` where there is none.
    ///
    /// # Errors
    /// When it is not TOML, or not what `T` is.
    pub fn read_toml<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RecordError> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RecordError::io("read", &path, error)),
            Ok(text) => toml::from_str(&text).map(Some).map_err(|error| RecordError::malformed(&path, error.message())),
        }
    }

    /// Whether both files of a figure are there, and it is this one.
    pub fn has_plot(&self, name: &str, svg: &str) -> bool {
        let file = |kind: &str| self.figures.join(format!("{name}.{kind}"));
        file("png").is_file() && fs::read(file("svg")).is_ok_and(|there| there == svg.as_bytes())
    }

    /// Writes a figure as `<name>.svg` and `<name>.png`.
    pub fn write_plot(&self, name: &str, svg: &str, png: &[u8]) -> Result<(), RecordError> {
        // The SVG last: where it is, its PNG is.
        write_whole(&self.figures.join(format!("{name}.png")), png)?;
        write_whole(&self.figures.join(format!("{name}.svg")), svg.as_bytes())
    }

    /// Removes both files of a figure, where they are.
    pub fn remove_plot(&self, name: &str) -> Result<(), RecordError> {
        ["svg", "png"].iter().try_for_each(|kind| remove_file(&self.figures.join(format!("{name}.{kind}"))))
    }
}
