//! Measurements as values, so that they stand in a list.

use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use probe::{Study, Subject};
use record::{AnyTable, Folder, Made, Maker, Parts, RecordError};
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
    /// What follows from the options and from tables that training changes, such as the best layers.
    plan: String,
    folder: &'a Folder,
    tables: Vec<Box<dyn AnyTable>>,
    measure: Measure<'a>,
}

/// Measures, and leaves all tables as they are.
type Measure<'a> = Box<dyn FnOnce(&Parts) -> Result<Write<'a>, MeasureError> + 'a>;

/// Writes what was measured.
type Write<'a> = Box<dyn FnOnce() -> Result<(), RecordError> + 'a>;

impl Planned<'_> {
    /// Measures, writes the tables, does what comes `behind` them, and then notes what made them; returns their paths. What
    /// is stopped goes on with the models that are left, if maker and plan are the same.
    ///
    /// # Errors
    /// When a model cannot be read, the disk fails, or what comes behind does.
    pub fn make<E: From<MeasureError> + From<RecordError>>(
        self,
        maker: &Maker,
        behind: impl FnOnce() -> Result<(), E>,
    ) -> Result<Vec<PathBuf>, E> {
        let mut of_parts = maker.clone();
        of_parts.facts.insert("plan".to_owned(), self.plan);
        let parts = Parts::open(self.folder, &of_parts)?;
        let write = (self.measure)(&parts)?;
        Made::noting(self.folder, &self.tables, maker, || {
            write()?;
            behind()?;
            // Once it is noted nobody comes back to them.
            parts.remove().map_err(E::from)
        })?;
        Ok(self.tables.iter().map(|table| self.folder.path().join(table.file())).collect())
    }
}

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
    let (folder, planned) = (session.folder, format!("{plan:?}"));
    let measure = move |parts: &Parts| {
        let rows = M::measure(&plan, &Session { parts: Some(parts), ..*session })?;
        Ok(Box::new(move || rows.replace(folder)) as Write<'a>)
    };
    Ok(Planned { options: typed, plan: planned, folder, tables: M::Rows::tables(folder), measure: Box::new(measure) })
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

#[cfg(test)]
mod tests {
    use probe::{Layer, ProbeKind};

    use super::*;
    use crate::fake::{Training, study};
    use crate::measurements::decodability::{BestLayerRow, Selection};
    use crate::{ALL, Needs};

    fn make(entry: &Entry, folder: &Folder, subjects: &Training) -> Result<Vec<PathBuf>, MeasureError> {
        let study = study();
        let session = Session::new(&study, subjects, folder, &|_| {});
        (entry.plan)(&entry.defaults(), &session)?.make(&Maker::this_program(entry.name), || Ok(()))
    }

    /// The folder is as if nothing had happened, and the models that were measured before are not read again.
    #[test]
    fn a_measurement_that_was_stopped_goes_on_with_the_models_that_are_left() {
        let places = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [whole, stopped] = places.each_ref().map(|place| Folder::create(place.path()).unwrap());
        let [first, second, last] = Training::STEPS;
        for entry in ALL.iter().filter(|entry| entry.needs != Needs::Scores) {
            let at_once = Training::new();
            make(entry, &whole, &at_once).unwrap();
            let mut cut = Training::new();
            cut.damaged = Some(last);
            let left = Training::new();
            if make(entry, &stopped, &cut).is_err() {
                assert!(
                    (entry.tables)(&stopped).iter().all(|table| table.is_ours().unwrap().is_none()),
                    "{}",
                    entry.name
                );
            }
            make(entry, &stopped, &left).unwrap();
            let files = places.each_ref().map(|place| contents(place.path()));
            assert_eq!(files[0], files[1], "{}", entry.name);
            if entry.name == "cd" {
                assert_eq!(*at_once.read.lock().unwrap(), [first, second, last]);
                assert_eq!(*left.read.lock().unwrap(), [last]);
            }
        }
    }

    /// Training that went on in between can make another layer the best.
    #[test]
    fn what_another_plan_finished_is_measured_again() {
        let places = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [whole, stopped] = places.each_ref().map(|place| Folder::create(place.path()).unwrap());
        let [first, second, last] = Training::STEPS;
        let separation = ALL.iter().find(|entry| entry.name == "separation").unwrap();
        let mut cut = Training::new();
        cut.damaged = Some(last);
        make(separation, &stopped, &cut).unwrap_err();
        let (probe, selection, token) = (ProbeKind::CD, Selection::HeldOut, study().tokens[0]);
        let best = BestLayerRow { step: last, token, probe, selection, layer: Layer(1), score: 1.0, lo: 1.0, hi: 1.0 };
        for folder in [&whole, &stopped] {
            folder.table::<BestLayerRow>().replace(std::slice::from_ref(&best)).unwrap();
        }
        let left = Training::new();
        make(separation, &whole, &Training::new()).unwrap();
        make(separation, &stopped, &left).unwrap();
        assert_eq!(*left.read.lock().unwrap(), [first, second, last]);
        assert_eq!(contents(places[0].path()), contents(places[1].path()));
    }

    fn contents(folder: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let name = |path: &PathBuf| PathBuf::from(path.file_name().unwrap());
        paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
    }
}
