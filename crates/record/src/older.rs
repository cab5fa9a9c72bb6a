//! Headers that earlier programs wrote, and how rows below them are read today.

use csv::StringRecord;

use crate::Row;
use crate::columns::columns;

/// A header that an earlier program wrote.
#[derive(Clone, Copy, Debug)]
pub struct Older {
    /// Its columns, in order.
    pub columns: &'static [&'static str],
    /// Columns of today that it lacks, each with the text that stands for what was meant then.
    pub filled: &'static [(&'static str, &'static str)],
    /// Columns that have another name today: then, now.
    pub renamed: &'static [(&'static str, &'static str)],
}

impl Older {
    /// A row under this header, with the columns of today.
    pub(crate) fn of_today<R: Row>(&self, row: &StringRecord) -> StringRecord {
        let then = |now: &str| {
            self.renamed
                .iter()
                .find(|(_, renamed)| *renamed == now)
                .map_or(now.to_owned(), |(then, _)| (*then).to_owned())
        };
        let cell = |now: &&str| {
            let place = self.columns.iter().position(|column| *column == then(now));
            let filled = || self.filled.iter().find(|(column, _)| column == now).map_or("", |(_, text)| text);
            place.and_then(|place| row.get(place)).unwrap_or_else(filled).to_owned()
        };
        columns::<R>().iter().map(cell).collect::<Vec<_>>().into()
    }
}
