//! Measurements as values, so that they stand in a list.

use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use probe::{Study, Subject};
use record::{AnyTable, Folder, RecordError};
use toml::Table;

use super::{Live, MeasureError, Measurement, Needs, Rows, Session};
use crate::show::{Section, Shown};

/// A measurement as a value.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What the command is called.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What it needs of prompts.
    pub needs: Needs,
    /// Names of the figures that it may draw.
    pub figures: &'static [&'static str],
    /// Adds its options to those of a command.
    pub add_options: fn(clap::Command) -> clap::Command,
    /// Its tables in a folder.
    pub tables: fn(&Folder) -> Vec<Box<dyn AnyTable>>,
    /// Plans from what was typed.
    pub plan: for<'a> fn(&clap::ArgMatches, &'a Session<'a>) -> Result<Planned<'a>, MeasureError>,
    /// The sections of the report.
    pub show: fn(&Shown<'_>) -> Result<Vec<Section>, MeasureError>,
}

/// What is ready to be measured.
pub struct Planned<'a> {
    /// The options as they were typed or defaulted.
    pub options: Table,
    /// Measures, and leaves all tables as they are.
    pub measure: Box<dyn FnOnce() -> Result<Measured<'a>, MeasureError> + 'a>,
}

/// What was measured: writes the tables, and returns their paths.
pub type Measured<'a> = Box<dyn FnOnce() -> Result<Vec<PathBuf>, RecordError> + 'a>;

/// Measures a model after some steps, appends to the tables, and gives what a person wants to see.
pub type Append = fn(&Study, &dyn Subject, usize, &Shown<'_>) -> Result<Option<String>, MeasureError>;

/// A live measurement as a value.
#[derive(Clone, Copy, Debug)]
pub struct LiveEntry {
    /// The measurement.
    pub entry: Entry,
    /// Measures one model.
    pub append: Append,
}

impl Entry {
    /// That of `M`.
    pub const fn of<M: Measurement>() -> Self {
        Self {
            name: M::NAME,
            about: M::ABOUT,
            needs: M::NEEDS,
            figures: M::FIGURES,
            add_options: M::Options::augment_args,
            tables: M::Rows::tables,
            plan: plan::<M>,
            show: M::show,
        }
    }

    /// The options where nothing is typed.
    pub fn defaults(&self) -> clap::ArgMatches {
        (self.add_options)(clap::Command::new(self.name)).get_matches_from([self.name])
    }
}

fn plan<'a, M: Measurement>(matches: &clap::ArgMatches, session: &'a Session<'a>) -> Result<Planned<'a>, MeasureError> {
    M::NEEDS.check(M::NAME, session.study)?;
    let options = M::Options::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    let typed = Table::try_from(&options);
    let plan = M::plan(options, session)?;
    // TOML has no whole number beyond i64; the plan has refused such a step or layer by its name.
    let typed = typed.map_err(|error| MeasureError::out_of_range("every option", "a value that TOML has", error))?;
    let measure = move || {
        let (rows, folder) = (M::measure(&plan, session)?, session.folder);
        let write = move || {
            rows.replace(folder)?;
            Ok(M::Rows::tables(folder).iter().map(|table| folder.path().join(table.file())).collect())
        };
        Ok(Box::new(write) as Measured<'a>)
    };
    Ok(Planned { options: typed, measure: Box::new(measure) })
}

impl LiveEntry {
    /// That of `M`.
    pub const fn of<M: Live>() -> Self {
        Self { entry: Entry::of::<M>(), append: append::<M> }
    }
}

fn append<M: Live>(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
    shown: &Shown<'_>,
) -> Result<Option<String>, MeasureError> {
    M::NEEDS.check(M::NAME, study)?;
    let rows = M::at(study, subject, step)?;
    rows.append(shown.folder)?;
    Ok(M::headline(&rows, shown))
}
