//! Long-format tables, one csv file each.
//!
//! The header is the version of a table. Columns come from the fields of its row type; a file is read if its header is
//! today's or one that an earlier program wrote, and refused by name if it is any other.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::columns::columns;
use crate::files::{remove_file, write_whole, writing};
use crate::{Older, RecordError, disk};

/// A row type and the table it belongs to: a struct whose fields, in order, are the columns.
pub trait Row: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// File name inside the folder.
    const FILE: &'static str;

    /// Headers that earlier programs wrote, and how their rows become rows of today.
    const OLDER: &'static [Older] = &[];

    /// Training step the row was measured at; rows behind the checkpoint that a run goes on from are dropped.
    /// `None` for rows that do not depend on training.
    fn step(&self) -> Option<usize>;

    /// Nothing, if its numbers can be what they stand for.
    ///
    /// # Errors
    /// When one cannot; names the column, the allowed range and the value.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// One table of a folder.
///
/// # Errors
/// Every function fails where the disk does. Those that read fail where a row is not one of the table's, or the columns
/// are others than [`Row`] and [`Row::OLDER`] say.
pub struct Table<R> {
    path: PathBuf,
    row: PhantomData<fn() -> R>,
}

/// A table whatever its rows, for those who have to do with tables and nothing with what stands in them.
pub trait AnyTable: fmt::Debug + Send + Sync {
    /// Its file's name inside the folder.
    fn file(&self) -> &'static str;

    /// Whether its file has the columns of a program of ours; `None` where there is no file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn is_ours(&self) -> Result<Option<bool>, RecordError>;

    /// As [`Table::truncate_after`].
    ///
    /// # Errors
    /// As that has.
    fn truncate_after(&self, step: usize) -> Result<(), RecordError>;

    /// As [`Table::flush`].
    ///
    /// # Errors
    /// As that has.
    fn flush(&self) -> Result<(), RecordError>;

    /// As [`Table::clear`].
    ///
    /// # Errors
    /// As that has.
    fn clear(&self) -> Result<(), RecordError>;
}

impl<R: Row> Table<R> {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(R::FILE), row: PhantomData }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All complete rows; none when the table does not exist. A last line cut short by a crash is left out.
    pub fn read(&self) -> Result<Vec<R>, RecordError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        self.parse(&complete_lines(&self.path)?)
    }

    /// The rows of the step that was measured last, in their order. Only the end of the file is read, as far as they reach;
    /// a last line cut short by a crash is left out.
    pub fn newest(&self) -> Result<Vec<R>, RecordError> {
        /// Where a table is read from its end, the first piece.
        const PIECE: u64 = 1 << 16;
        let fail = |error| RecordError::io("read", &self.path, error);
        let length = match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(fail)?.len(),
        };
        let mut piece = PIECE;
        while piece < length {
            let end = lines_from(&self.path, length - piece).map_err(fail)?;
            // What is wrong there is said of the whole table.
            let rows = self.parse(&(self.header()? + &end)).unwrap_or_default();
            if rows.first().map(Row::step) != rows.last().map(Row::step) {
                return Ok(of_last_step(rows));
            }
            piece *= 8;
        }
        Ok(of_last_step(self.read()?))
    }

    /// Complete lines, the first of which says the columns, as rows.
    fn parse(&self, text: &str) -> Result<Vec<R>, RecordError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let malformed = |error: csv::Error| RecordError::malformed(&self.path, error);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().map_err(malformed)?.clone();
        let found: Vec<&str> = header.iter().collect();
        let checked = |row: R| match row.check() {
            Ok(()) => Ok(row),
            Err(reason) => Err(RecordError::malformed(&self.path, reason)),
        };
        if found == columns::<R>() {
            return reader.deserialize().map(|row| row.map_err(malformed).and_then(checked)).collect();
        }
        let older = R::OLDER.iter().find(|older| found == older.columns).ok_or_else(|| self.other_columns(&found))?;
        let today = StringRecord::from(columns::<R>().to_vec());
        let read =
            |row: csv::Result<StringRecord>| row.and_then(|row| older.of_today::<R>(&row).deserialize(Some(&today)));
        reader.into_records().map(|row| read(row).map_err(malformed).and_then(checked)).collect()
    }

    /// Adds rows at the end and hands them to the operating system before it returns. What has other columns than today's
    /// is refused: its rows would be read as something else.
    pub fn append(&self, rows: &[R]) -> Result<(), RecordError> {
        let _writing = writing();
        let fresh = fs::metadata(&self.path).map_or(true, |file| file.len() == 0);
        if !fresh {
            self.check_header()?;
        }
        let written = text(rows, fresh).and_then(|text| disk::append(&self.path, &text));
        written.map_err(|error| RecordError::io("append to", &self.path, error))
    }

    /// Writes the whole table anew, under another name first. Without rows there is no table: it would have no header.
    pub fn replace(&self, rows: &[R]) -> Result<(), RecordError> {
        if rows.is_empty() {
            return self.clear();
        }
        let text = text(rows, true).map_err(|error| RecordError::io("write", &self.path, error))?;
        write_whole(&self.path, &text)
    }

    /// Drops the rows measured after `step`, and whatever a crash left half-written. A table of an earlier program gets
    /// the columns of today, so that rows can be added.
    pub fn truncate_after(&self, step: usize) -> Result<(), RecordError> {
        if !self.path.exists() {
            return Ok(());
        }
        let mut rows = self.read()?;
        rows.retain(|row| row.step().is_none_or(|measured| measured <= step));
        self.replace(&rows)
    }

    /// Sees to it that what was added is on the disk, should the machine stop.
    pub fn flush(&self) -> Result<(), RecordError> {
        match disk::sync(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(RecordError::io("flush", &self.path, error)),
            _ => Ok(()),
        }
    }

    /// Removes all rows.
    pub fn clear(&self) -> Result<(), RecordError> {
        remove_file(&self.path)
    }

    /// The first line, as far as it is there.
    fn header(&self) -> Result<String, RecordError> {
        /// No header is longer.
        const MOST: u64 = 1 << 16;
        let mut line = Vec::new();
        let read = File::open(&self.path).and_then(|file| BufReader::new(file).take(MOST).read_until(b'\n', &mut line));
        read.map_err(|error| RecordError::io("read", &self.path, error))?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn check_header(&self) -> Result<(), RecordError> {
        let line = self.header()?;
        let found: Vec<&str> = line.trim_end().split(',').collect();
        if line.ends_with('\n') && found == columns::<R>() { Ok(()) } else { Err(self.other_columns(&found)) }
    }

    fn other_columns(&self, found: &[&str]) -> RecordError {
        RecordError::columns(&self.path, columns::<R>(), found)
    }
}

impl<R: Row> AnyTable for Table<R> {
    fn file(&self) -> &'static str {
        R::FILE
    }

    fn is_ours(&self) -> Result<Option<bool>, RecordError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let found = self.header()?;
        let found: Vec<&str> = found.trim_end().split(',').collect();
        Ok(Some(found == columns::<R>() || R::OLDER.iter().any(|older| found == older.columns)))
    }

    fn truncate_after(&self, step: usize) -> Result<(), RecordError> {
        Self::truncate_after(self, step)
    }

    fn flush(&self) -> Result<(), RecordError> {
        Self::flush(self)
    }

    fn clear(&self) -> Result<(), RecordError> {
        Self::clear(self)
    }
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), row: PhantomData }
    }
}

impl<R> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.path).finish()
    }
}

/// Whether the file of a table is there and has a row: a complete line below its columns.
pub fn has_rows(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let (mut file, mut line) = (BufReader::new(file), Vec::new());
    let mut is_whole = || {
        line.clear();
        file.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n")
    };
    is_whole() && is_whole()
}

/// The text of a table, up to the end of its last complete line. It is cut before it is text: a line may end inside a letter.
pub(crate) fn complete_lines(path: &Path) -> Result<String, RecordError> {
    let mut bytes = fs::read(path).map_err(|error| RecordError::io("read", path, error))?;
    bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
    String::from_utf8(bytes).map_err(|error| RecordError::malformed(path, error))
}

/// The complete lines that begin behind `start` in a file.
fn lines_from(path: &Path, start: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut ends = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(place, _)| place + 1);
    let (first, last) = (ends.next().unwrap_or(bytes.len()), ends.next_back());
    Ok(String::from_utf8_lossy(&bytes[first..last.unwrap_or(first)]).into_owned())
}

/// Those of the rows that are of the same step as the last one.
fn of_last_step<R: Row>(mut rows: Vec<R>) -> Vec<R> {
    let last = rows.last().and_then(Row::step);
    rows.retain(|row| row.step() == last);
    rows
}

/// Rows as they stand in a table's file, below the columns if `header` says so.
fn text<R: Serialize>(rows: &[R], header: bool) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(header).from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row)).map_err(std::io::Error::other)?;
    writer.into_inner().map_err(|error| error.into_error())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::Folder;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Score {
        step: usize,
        concept: Option<String>,
        reader: String,
        score: f64,
    }

    impl Row for Score {
        const FILE: &'static str = "scores.csv";
        const OLDER: &'static [Older] = &[
            Older { columns: &["step", "reader", "score"], filled: &[("concept", "")], renamed: &[] },
            Older {
                columns: &["score", "probe", "step"],
                filled: &[("concept", "all")],
                renamed: &[("probe", "reader")],
            },
        ];
        fn step(&self) -> Option<usize> {
            Some(self.step)
        }
    }

    fn score(step: usize, concept: Option<&str>) -> Score {
        Score { step, concept: concept.map(str::to_owned), reader: "knn".to_owned(), score: 0.5 }
    }

    /// A folder with the table as `text`.
    fn table(text: &str) -> (tempfile::TempDir, Table<Score>) {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("scores.csv"), text).unwrap();
        let table = Folder::at(place.path()).table();
        (place, table)
    }

    #[test]
    fn tables_of_earlier_programs_are_read_and_become_tables_of_today() {
        for (text, row) in [
            ("step,reader,score\n3,knn,0.5\n9,knn,0.25\n", score(3, None)),
            ("score,probe,step\n0.5,knn,3\n", score(3, Some("all"))),
        ] {
            let (_place, table) = table(text);
            assert_eq!(table.read().unwrap()[0], row);
            assert!(table.append(&[score(4, None)]).is_err(), "two headers in one file");
            AnyTable::truncate_after(&table, 3).unwrap();
            table.append(&[score(4, None)]).unwrap();
            assert_eq!(table.read().unwrap(), [row, score(4, None)]);
            assert!(std::fs::read_to_string(table.path()).unwrap().starts_with("step,concept,reader,score\n"));
        }
    }

    #[test]
    fn other_columns_are_refused_with_their_names() {
        let cases = [
            ("step,concept,score\n3,,0.5\n", "but are step,concept,score; missing: reader"),
            ("step,concept,reader,score,colour\n3,,knn,0.5,red\n", "foreign: colour"),
            ("step,concept,probe,score\n3,,knn,0.5\n", "missing: reader; foreign: probe"),
            ("concept,step,reader,score\n,3,knn,0.5\n", "must be step,concept,reader,score, but are concept,step,"),
        ];
        for (text, words) in cases {
            let (_place, table) = table(text);
            for error in [table.read().unwrap_err(), table.append(&[score(4, None)]).unwrap_err()] {
                let message = error.to_string();
                assert!(message.contains("scores.csv: the columns") && message.contains(words), "{message}");
            }
            assert_eq!(std::fs::read_to_string(table.path()).unwrap(), text);
        }
    }

    #[test]
    fn the_newest_rows_are_those_of_the_last_step_however_long_the_table_is() {
        let header = "step,concept,reader,score\n";
        let rows = |step: usize, count: usize| format!("{step},,knn,0.5\n").repeat(count);
        for (before, last) in [(0, 1), (3, 2), (20_000, 3), (20_000, 30_000), (0, 30_000)] {
            let (_place, table) = table(&format!("{header}{}{}9,,kn", rows(3, before), rows(4, last)));
            assert_eq!(table.newest().unwrap(), vec![score(4, None); last], "{before} rows, then {last}");
        }
        let (place, empty) = table(header);
        assert!(empty.newest().unwrap().is_empty());
        drop(place);
        assert!(empty.newest().unwrap().is_empty(), "a table that is not there has no rows");
        let (_place, damaged) = table(&format!("{header}{}many,,knn,0.5\n", rows(3, 20_000)));
        assert!(damaged.newest().unwrap_err().to_string().contains("scores.csv"));
    }

    #[test]
    fn a_table_without_a_whole_row_has_no_rows() {
        let header = "step,concept,reader,score\n";
        for (text, has) in
            [("", false), (header, false), (&format!("{header}3,,kn"), false), (&format!("{header}3,,knn,0.5\n"), true)]
        {
            let (place, table) = table(text);
            assert_eq!((has_rows(table.path()), table.read().unwrap().is_empty()), (has, !has), "{text}");
            drop(place);
            assert!(!has_rows(table.path()), "it is gone");
        }
    }

    #[test]
    fn a_line_cut_short_is_left_out_and_a_header_cut_short_is_no_table() {
        let whole = "step,concept,reader,score\n3,,knn,0.5\n";
        let (_place, cut) = table(&format!("{whole}4,,kn"));
        assert_eq!(cut.read().unwrap(), [score(3, None)]);
        cut.truncate_after(9).unwrap();
        assert_eq!(std::fs::read_to_string(cut.path()).unwrap(), whole);
        let (_place, cut) = table("step,con");
        assert!(cut.read().unwrap().is_empty() && cut.append(&[score(3, None)]).is_err());
        cut.truncate_after(9).unwrap();
        assert!(!cut.path().exists());
    }
}
