//! `seal.toml`: the values and files that a folder was made with, so that a change of them is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::{Folder, RecordError};

/// The values and files that a folder was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// SHA-256 of the values and files, in the order of their names: a seal that was edited itself is seen as well.
    digest: String,
    /// The values.
    values: Table,
    /// SHA-256 of what was read from elsewhere, by its path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, String>,
}

/// A field that has another value than the sealed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Its path, with dots between the parts.
    pub field: String,
    /// The sealed value as TOML; none where the field was not there.
    pub sealed: Option<String>,
    /// The value found as TOML; none where the field is not there.
    pub found: Option<String>,
}

impl Seal {
    /// The file that it is written to.
    pub const FILE: &'static str = "seal.toml";

    /// A seal of `values`.
    pub fn of(values: Table) -> Self {
        Self { digest: digest(&values, &BTreeMap::new()), values, files: BTreeMap::new() }
    }

    /// The same, and of `files`: the SHA-256 of what is read from elsewhere, by its path.
    pub fn with_files(self, files: BTreeMap<String, String>) -> Self {
        Self { digest: digest(&self.values, &files), files, ..self }
    }

    /// The seal of `folder`; `None` where it has none.
    ///
    /// # Errors
    /// When the disk fails, or the file is damaged or was edited.
    pub fn read(folder: &Folder) -> Result<Option<Self>, RecordError> {
        Self::read_from(folder, Self::FILE)
    }

    /// The seal in another file of `folder`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(folder: &Folder, file: &str) -> Result<Option<Self>, RecordError> {
        let Some(seal) = folder.read_toml::<Self>(file)? else { return Ok(None) };
        let found = digest(&seal.values, &seal.files);
        if found != seal.digest {
            let reason = format!("its digest must be that of what it holds ({found}), but is {}", seal.digest);
            return Err(RecordError::malformed(&folder.path().join(file), reason));
        }
        Ok(Some(seal))
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self, folder: &Folder) -> Result<(), RecordError> {
        self.write_to(folder, Self::FILE)
    }

    /// Writes another file of `folder`, whole.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_to(&self, folder: &Folder, file: &str) -> Result<(), RecordError> {
        folder.write(file, self.to_toml().as_bytes())
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("values that were TOML are TOML again")
    }

    /// The digest of the values.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The sealed values.
    pub fn values(&self) -> &Table {
        &self.values
    }

    /// SHA-256 of what was read from elsewhere, by its path.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// Fields whose value in `found` is another than the sealed one, by their paths.
    pub fn changes(&self, found: &Table) -> Vec<FieldChange> {
        FieldChange::between(&self.values, found)
    }
}

impl FieldChange {
    /// Fields whose values in `sealed` and `found` differ, by their paths.
    pub fn between(sealed: &Table, found: &Table) -> Vec<Self> {
        let (sealed, found) = (leaves(sealed), leaves(found));
        let fields: BTreeSet<&String> = sealed.keys().chain(found.keys()).collect();
        let differs = |field: &&String| match (sealed.get(*field), found.get(*field)) {
            // A whole number and the number it is mean the same wherever a number is meant.
            (Some(Value::Integer(whole)), Some(Value::Float(number)))
            | (Some(Value::Float(number)), Some(Value::Integer(whole))) => *number != *whole as f64,
            (sealed, found) => sealed.map(ToString::to_string) != found.map(ToString::to_string),
        };
        let text = |value: Option<&&Value>| value.map(ToString::to_string);
        let of = |field: &String| Self {
            field: field.clone(),
            sealed: text(sealed.get(field)),
            found: text(found.get(field)),
        };
        fields.into_iter().filter(differs).map(of).collect()
    }

    /// The sealed value and the one found, as text.
    pub fn sides(&self) -> [&str; 2] {
        [&self.sealed, &self.found].map(|value| value.as_deref().unwrap_or("absent"))
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sealed, found] = self.sides();
        write!(f, "{} must be {sealed}, but is {found}", self.field)
    }
}

/// Every value by its path through the tables.
pub fn leaves(table: &Table) -> BTreeMap<String, &Value> {
    fn collect<'a>(table: &'a Table, path: &str, leaves: &mut BTreeMap<String, &'a Value>) {
        for (name, value) in table {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match value {
                Value::Table(inner) => collect(inner, &path, leaves),
                value => drop(leaves.insert(path, value)),
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(table, "", &mut found);
    found
}

fn digest(values: &Table, files: &BTreeMap<String, String>) -> String {
    let values = leaves(values).into_iter().map(|(field, value)| format!("{field} = {value}\n"));
    let files = files.iter().map(|(path, digest)| format!("{path}: {digest}\n"));
    hex(&Sha256::digest(values.chain(files).collect::<String>()))
}

/// Two hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn a_change_is_named_with_both_values_and_the_order_of_fields_is_none() {
        let seal = Seal::of(values("seed = 1\n[task]\nd_x = 4\nnoise = 0.5"));
        assert!(seal.changes(&values("task = { noise = 0.5, d_x = 4.0 }\nseed = 1")).is_empty());
        let changes = seal.changes(&values("seed = 2\n[task]\nd_x = 4\ncolour = \"red\""));
        let found: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let expected = [
            "seed must be 1, but is 2",
            "task.colour must be absent, but is \"red\"",
            "task.noise must be 0.5, but is absent",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_edited_seal_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        assert_eq!(Seal::read(&folder).unwrap(), None);
        let files = BTreeMap::from([("corpus".to_owned(), "00ff".to_owned())]);
        let seal = Seal::of(values("seed = 1\n[task]\nd_x = 4")).with_files(files);
        seal.write(&folder).unwrap();
        assert_eq!(Seal::read(&folder).unwrap(), Some(seal));
        let path = place.path().join("seal.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        for edited in [text.replace("d_x = 4", "d_x = 5"), text.replace("00ff", "01ff")] {
            std::fs::write(&path, edited).unwrap();
            assert!(Seal::read(&folder).unwrap_err().to_string().contains("its digest must be"));
        }
    }
}
