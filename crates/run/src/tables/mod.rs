//! Long-format tables. A new probe or metric adds rows and changes no schema and no figure.
//!
//! An empty cell in `concept` or `position` means "over all of them".

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::{remove_file, write_whole};
use crate::{RunError, io_error};

mod algorithms;
mod causes;
mod comparison;
mod errors;
mod readings;
mod states;

pub use algorithms::AlgorithmRow;
pub use causes::{PatchRow, PruningRow, TransplantRow};
pub use comparison::{CorrelationRow, CurveRow, LagRow, MeanPairRow, PointRow, ReplacementRow, SweepRow};
pub use errors::{BaselineRow, MetricRow, TrainingRow};
pub use readings::{PairRow, PositionRow, SensitivityRow, SeparationRow, Site, SiteRow};
pub use states::{BestLayerRow, DecodabilityRow, MapRow};

/// A row type and the table it belongs to.
pub trait Row: Serialize + DeserializeOwned {
    /// File name inside the run directory.
    const FILE: &'static str;
    /// Training step the row was measured at; rows behind the checkpoint that a run goes on from are dropped.
    /// `None` for rows that do not depend on training.
    fn step(&self) -> Option<usize>;
}

/// Names a row type's file and the step it belongs to.
macro_rules! row {
    ($row:ty, $file:literal, |$r:ident| $step:expr) => {
        impl $crate::tables::Row for $row {
            const FILE: &'static str = $file;
            fn step(&self) -> Option<usize> {
                let $r = self;
                $step
            }
        }
    };
}
pub(crate) use row;

/// One table of a run.
///
/// # Errors
/// Every function fails where the disk does, and [`read`](Self::read) where a row is not one of the table's.
#[derive(Clone, Debug)]
pub struct Table<R> {
    path: PathBuf,
    row: PhantomData<R>,
}

impl<R: Row> Table<R> {
    pub(crate) fn new(run: &Path) -> Self {
        Self { path: run.join(R::FILE), row: PhantomData }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All complete rows; none when the table does not exist. A last line cut short by a crash is left out.
    pub fn read(&self) -> Result<Vec<R>, RunError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let text = self.complete_lines()?;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().map(|row| row.map_err(|error| self.malformed(&error))).collect()
    }

    /// Adds rows at the end and hands them to the operating system before it returns.
    pub fn append(&self, rows: &[R]) -> Result<(), RunError> {
        let fail = |error| io_error("append to", &self.path, error);
        let file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(fail)?;
        let fresh = file.metadata().map_err(fail)?.len() == 0;
        write_rows(BufWriter::new(file), rows, fresh).map_err(fail)
    }

    /// Writes the whole table anew, under another name first. Without rows there is no table: it would have no header.
    pub fn replace(&self, rows: &[R]) -> Result<(), RunError> {
        if rows.is_empty() {
            return self.clear();
        }
        let mut text = Vec::new();
        write_rows(&mut text, rows, true).map_err(|error| io_error("write", &self.path, error))?;
        write_whole(&self.path, &text)
    }

    /// Drops the rows measured after `step`, and whatever a crash left half-written.
    pub fn truncate_after(&self, step: usize) -> Result<(), RunError> {
        if !self.path.exists() {
            return Ok(());
        }
        let mut rows = self.read()?;
        rows.retain(|row| row.step().is_none_or(|measured| measured <= step));
        self.replace(&rows)
    }

    /// Sees to it that what was added is on the disk, should the machine stop.
    pub(crate) fn flush(&self) -> Result<(), RunError> {
        match OpenOptions::new().append(true).open(&self.path).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("flush", &self.path, error)),
            _ => Ok(()),
        }
    }

    /// Removes all rows.
    pub fn clear(&self) -> Result<(), RunError> {
        remove_file(&self.path)
    }

    /// Cut before it is text: a line may end inside a letter.
    fn complete_lines(&self) -> Result<String, RunError> {
        let mut bytes = fs::read(&self.path).map_err(|error| io_error("read", &self.path, error))?;
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
        String::from_utf8(bytes).map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, error: &impl ToString) -> RunError {
        RunError::Malformed { path: self.path.clone(), reason: error.to_string() }
    }
}

fn write_rows<R: Serialize>(sink: impl Write, rows: &[R], header: bool) -> std::io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(header).from_writer(sink);
    for row in rows {
        writer.serialize(row).map_err(std::io::Error::other)?;
    }
    writer.flush()
}
