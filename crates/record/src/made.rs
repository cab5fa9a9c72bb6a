//! `made.toml`: which program, settings and options made each table of a folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{AnyTable, Folder, RecordError};

const FILE: &str = "made.toml";

/// The commit that this program was built from; `unknown` where there was no repository.
pub const COMMIT: &str = env!("EMERGENCE_COMMIT");

/// What made each table of a folder. It knows no clock: the same work makes the same file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Made {
    /// By the table's file.
    pub tables: BTreeMap<String, Maker>,
}

/// What made a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maker {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, when known.
    pub commit: String,
    /// The command.
    pub command: String,
    /// What the command was asked for, defaults included.
    #[serde(default)]
    pub options: Table,
    /// What the folder's own settings were, as far as they count.
    #[serde(default)]
    pub settings: Table,
    /// What else the numbers may depend on, such as the device; the same whenever it was done.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

impl Maker {
    /// This program under `command`, without options, settings or facts.
    pub fn this_program(command: &str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: COMMIT.to_owned(),
            command: command.to_owned(),
            options: Table::new(),
            settings: Table::new(),
            facts: BTreeMap::new(),
        }
    }
}

impl Made {
    /// What `folder` says; nothing of tables that were made before it was written down.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn read(folder: &Folder) -> Result<Self, RecordError> {
        Ok(folder.read_toml(FILE)?.unwrap_or_default())
    }

    /// Writes tables of `folder` with `write`, and notes what made them. Where another maker was noted of one, that goes
    /// first: wherever this stops, no note is one of other rows.
    ///
    /// # Errors
    /// When the disk or `write` fails.
    pub fn noting<T, E: From<RecordError>>(
        folder: &Folder,
        tables: &[Box<dyn AnyTable>],
        maker: &Maker,
        write: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let before = Self::read(folder)?;
        let mut made = before.clone();
        made.tables.retain(|file, noted| noted == maker || tables.iter().all(|table| table.file() != file));
        if made != before {
            made.write(folder)?;
        }
        let result = write()?;
        made.note(folder, tables, maker);
        made.write(folder)?;
        Ok(result)
    }

    /// Notes what made some tables of `folder`; nothing of those that have no rows, and so are not there.
    pub fn note(&mut self, folder: &Folder, tables: &[Box<dyn AnyTable>], maker: &Maker) {
        for table in tables {
            match folder.path().join(table.file()).exists() {
                true => self.tables.insert(table.file().to_owned(), maker.clone()),
                false => self.tables.remove(table.file()),
            };
        }
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self, folder: &Folder) -> Result<(), RecordError> {
        folder.write_toml(FILE, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of some measurement.
    #[derive(Clone, Serialize, Deserialize)]
    struct Length {
        metres: f64,
    }

    impl crate::Row for Length {
        const FILE: &'static str = "lengths.csv";

        fn step(&self) -> Option<usize> {
            None
        }
    }

    #[test]
    fn no_note_is_one_of_other_rows() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        let tables: [Box<dyn AnyTable>; 1] = [Box::new(folder.table::<Length>())];
        let make = |maker: &str, metres| {
            Made::noting(&folder, &tables, &Maker::this_program(maker), || {
                folder.table().replace(&[Length { metres }])?;
                if metres > 2.0 { Err(RecordError::malformed(place.path(), "what comes behind it")) } else { Ok(()) }
            })
        };
        let noted = || Made::read(&folder).unwrap().tables.get("lengths.csv").cloned();
        make("first", 1.0).unwrap();
        make("second", 2.0).unwrap();
        assert_eq!(noted(), Some(Maker::this_program("second")));
        assert!(make("second", 3.0).is_err());
        assert_eq!(noted(), Some(Maker::this_program("second")));
        assert!(make("third", 3.0).is_err());
        assert_eq!(noted(), None);
    }

    #[test]
    fn what_was_made_is_read_again_and_the_rest_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        let mut made = Made::read(&folder).unwrap();
        assert!(made.tables.is_empty());
        let options: Table = "step = [0, 10]\ntoken = \"x\"\ninner = { strength = 0.5 }".parse().unwrap();
        let facts = BTreeMap::from([("device".to_owned(), "flex".to_owned())]);
        let maker = Maker { options, facts, ..Maker::this_program("patch") };
        made.tables.insert("patching.csv".to_owned(), maker);
        made.tables.insert("cd.csv".to_owned(), Maker::this_program("train"));
        made.write(&folder).unwrap();
        assert_eq!(Made::read(&folder).unwrap(), made);
    }
}
