//! A table as it stands in its file, for those who know no row type.

use std::path::Path;

use crate::RecordError;
use crate::table::complete_lines;

/// The text of a table, cell by cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// The header.
    pub columns: Vec<String>,
    /// Every complete row, with a cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Cells {
    /// The table at `path`, without a last line that a crash cut short; `None` where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, is not text, or a row has more or fewer cells than the header.
    pub fn read(path: &Path) -> Result<Option<Self>, RecordError> {
        if !path.exists() {
            return Ok(None);
        }
        let text = complete_lines(path)?;
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        let lines = reader.records().map(|line| line.map(|cells| cells.iter().map(str::to_owned).collect()));
        let mut lines: Vec<Vec<String>> =
            lines.collect::<Result<_, _>>().map_err(|error| RecordError::malformed(path, error))?;
        let rows = lines.split_off(lines.len().min(1));
        Ok(Some(Self { columns: lines.pop().unwrap_or_default(), rows }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_the_complete_lines() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.csv");
        assert_eq!(Cells::read(&path).unwrap(), None);
        for (text, columns, rows) in [
            ("", vec![], vec![]),
            ("step,concept\n0,\"B1 (0,1)\"\n4,\n8,B", vec!["step", "concept"], vec![["0", "B1 (0,1)"], ["4", ""]]),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = Cells::read(&path).unwrap().unwrap();
            assert_eq!(read.columns, columns);
            assert_eq!(read.rows, rows);
        }
        std::fs::write(&path, "step,loss\n0\n").unwrap();
        assert!(Cells::read(&path).unwrap_err().to_string().contains("a.csv is damaged"));
    }
}
