//! From tables to the sections of a report.

use data::{Legend, Role, Token};
use plots::PlotError;
use plots::page::{Figure, ReportTable};
use record::{Folder, RecordError, Row};

use crate::{BaselineRow, MeasureError};

/// A run's tables, and what they name.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Where the tables are.
    pub folder: &'a Folder,
    /// What they name.
    pub legend: &'a Legend,
}

/// A part of the report.
#[derive(Clone, Debug)]
pub enum Section {
    /// A figure, also written to the run's folder under its name.
    Figure {
        /// Its name, one of [`Measurement::FIGURES`](crate::Measurement::FIGURES).
        name: &'static str,
        /// What is drawn, titled and explained.
        figure: Figure,
    },
    /// A table of the report.
    Table(ReportTable),
}

impl Shown<'_> {
    /// All rows of a table; none when it was not measured.
    ///
    /// # Errors
    /// When the table cannot be read or has other columns.
    pub fn rows<R: Row>(&self) -> Result<Vec<R>, RecordError> {
        self.folder.table::<R>().read()
    }

    /// The error of the optimal predictor over E\[y²\], over all concepts and positions, where the task has one and it
    /// was computed.
    ///
    /// # Errors
    /// When the table cannot be read or has other columns.
    pub fn optimal_error(&self) -> Result<Option<f64>, RecordError> {
        let Some(optimal) = self.legend.with_role(Role::Optimal) else { return Ok(None) };
        let overall = |row: &&BaselineRow| row.concept.is_none() && row.position.is_none();
        let rows: Vec<BaselineRow> = self.rows()?;
        let found = rows.iter().filter(overall).find(|row| row.predictor == optimal.name);
        Ok(found.map(|row| row.relative_mse))
    }
}

impl Section {
    /// A figure; none if there is nothing to draw.
    pub(crate) fn figure(
        name: &'static str,
        title: &str,
        caption: impl Into<String>,
        svg: Result<String, PlotError>,
    ) -> Result<Option<Self>, MeasureError> {
        match svg {
            Ok(svg) => {
                let figure = Figure { title: title.to_owned(), caption: caption.into(), svg };
                Ok(Some(Self::Figure { name, figure }))
            }
            Err(PlotError::Empty { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The token that figures of one token show: the last x token, where the query is, or the first token if there is no x.
pub(crate) fn query(mut tokens: impl Iterator<Item = Token> + Clone) -> Option<Token> {
    let of_x = tokens.clone().filter(|token| matches!(token, Token::X(_))).max_by_key(|token| token.index());
    of_x.or_else(|| tokens.next())
}

/// Each of them once, in the order in which they come.
pub(crate) fn once_each<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    all.into_iter().fold(Vec::new(), |mut met, one| {
        if !met.contains(&one) {
            met.push(one);
        }
        met
    })
}

/// Each of the names once, in the order of `known`; those that are not known come last, as they come.
pub(crate) fn in_order<'a>(names: impl IntoIterator<Item = &'a str>, known: &[String]) -> Vec<&'a str> {
    by_place(names, |name| known.iter().position(|one| one == name))
}

/// The same of concepts, in the task's order.
pub(crate) fn in_task_order<'a>(concepts: impl IntoIterator<Item = &'a str>, legend: &Legend) -> Vec<&'a str> {
    by_place(concepts, |concept| legend.place(concept))
}

fn by_place<'a>(names: impl IntoIterator<Item = &'a str>, place: impl Fn(&str) -> Option<usize>) -> Vec<&'a str> {
    let mut names = once_each(names);
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    names
}

/// What a caption says of a figure that has no space for more than `most` concepts.
pub(crate) fn of_concepts(all: usize, most: usize) -> String {
    if all > most { format!(" Shown are {most} of {all} concepts.") } else { String::new() }
}
