//! Why a file or folder could not be read or written.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Holder;

/// Why something on disk could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The operating system refused.
    #[error("could not {verb} {}: {error}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Another process writes to this folder.
    #[error("{} is in use by another process: {holder}", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process.
        holder: Box<Holder>,
    },
    /// Something is in the way of what a command is to write.
    #[error("{} would be written over, but {reason}", path.display())]
    Occupied {
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// A file whose content is not what it must be.
    #[error("{} is damaged: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that a program of today cannot read yet.
    #[error("{} was written by a newer program: its version is {version}, and this program knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A table with other columns than this program, or any before it, has written.
    #[error("{}: the columns must be {expected}, but are {found}{difference}", file.display())]
    Columns {
        /// The table's file.
        file: PathBuf,
        /// The columns as this program writes them.
        expected: String,
        /// Those in the file.
        found: String,
        /// Which are missing and which are foreign, if any.
        difference: String,
    },
}

impl RecordError {
    /// The operating system refused to `verb` what lies at `path`.
    pub fn io(verb: &'static str, path: &Path, error: std::io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), error }
    }

    /// Whether a file is gone or not what it must be, and the disk does what it is asked.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Malformed { .. } => true,
            Self::Io { error, .. } => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether something could only not be written: because the disk refuses, or another process writes there.
    pub fn is_of_writing(&self) -> bool {
        match self {
            Self::Locked { .. } => true,
            Self::Io { verb, .. } => *verb != "read",
            _ => false,
        }
    }

    /// The file at `path` is not what it must be.
    pub fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn columns(file: &Path, expected: &[&str], found: &[&str]) -> Self {
        let apart = |of: &[&str], from: &[&str]| {
            of.iter().filter(|column| !from.contains(column)).map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let name = |what: &str, columns: String| match columns.as_str() {
            "" => String::new(),
            columns => format!("; {what}: {columns}"),
        };
        let (missing, foreign) = (apart(expected, found), apart(found, expected));
        Self::Columns {
            file: file.to_owned(),
            expected: expected.join(","),
            found: found.join(","),
            difference: format!("{}{}", name("missing", missing), name("foreign", foreign)),
        }
    }
}
