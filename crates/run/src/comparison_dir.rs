//! Where a comparison of runs lies.

use std::path::{Path, PathBuf};

use crate::files::{create_folder, remove_file, write_whole};
use crate::{Row, RunError, Table};

/// A folder with the tables and figures of several runs side by side.
///
/// # Errors
/// Every function fails where the disk does.
#[derive(Clone, Debug)]
pub struct ComparisonDir {
    path: PathBuf,
}

impl ComparisonDir {
    /// The folder at `path`, made if it is not there.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        create_folder(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The table of rows `R`.
    pub fn table<R: Row>(&self) -> Table<R> {
        Table::new(&self.path)
    }

    /// Writes a figure as `<name>.svg` and `<name>.png`.
    pub fn write_plot(&self, name: &str, svg: &str, png: &[u8]) -> Result<(), RunError> {
        write_whole(&self.path.join(format!("{name}.svg")), svg.as_bytes())?;
        write_whole(&self.path.join(format!("{name}.png")), png)
    }

    /// Removes both files of a figure, where they are.
    pub fn remove_plot(&self, name: &str) -> Result<(), RunError> {
        ["svg", "png"].iter().try_for_each(|extension| remove_file(&self.path.join(format!("{name}.{extension}"))))
    }
}
