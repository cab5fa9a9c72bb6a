//! The figures and the report of a run, from its tables alone.

use plots::page::{Report, render};
use record::REPORT;

use crate::MeasureError;
use crate::measurements::ALL;
use crate::show::{Section, Shown};

/// What the report says beside the measurements' sections.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Name of the run.
    pub title: String,
    /// What was run where, by name.
    pub facts: Vec<(String, String)>,
    /// The configuration, as TOML.
    pub config: String,
    /// Commands that make the run and its report again.
    pub reproduce: Vec<String>,
}

/// Draws every figure whose table has rows, and writes the report.
///
/// # Errors
/// When a table cannot be read, a figure not be drawn, or a file not be written.
pub fn write_report(shown: &Shown<'_>, frame: Frame) -> Result<(), MeasureError> {
    let (mut figures, mut tables) = (Vec::new(), Vec::new());
    for entry in ALL {
        let mut stale = entry.figures.to_vec();
        for section in (entry.show)(shown)? {
            match section {
                Section::Table(table) => tables.push(table),
                Section::Figure { name, figure } => {
                    // To draw pixels takes most of the time.
                    if !shown.folder.has_plot(name, &figure.svg) {
                        shown.folder.write_plot(name, &figure.svg, &plots::png(&figure.svg)?)?;
                    }
                    stale.retain(|other| *other != name);
                    figures.push(figure);
                }
            }
        }
        // A figure of earlier tables would not be of these.
        stale.into_iter().try_for_each(|name| shown.folder.remove_plot(name))?;
    }
    let Frame { title, facts, config, reproduce } = frame;
    let page = render(&Report { title, facts, figures, tables, config, reproduce });
    Ok(shown.folder.write(REPORT, page.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Command;
    use data::Legend;
    use record::{Folder, Maker};

    use super::*;
    use probe::{Study, Subjects};

    use crate::fake::{TextTraining, Training, study, text_study};
    use crate::{Entry, MapMethod, MapRow, MeasureError, Needs, Projections, Session, Summary};

    /// Figures that prompts of numbers do not have.
    const OF_TEXT: &[&str] = &["layers"];

    /// Measures with the options given, and checks that no table stays empty.
    fn measure(entry: &Entry, options: &[&str], folder: &Folder, study: &Study, subjects: &dyn Subjects) {
        let session = Session::new(study, subjects, folder, &|_| {});
        let command = (entry.add_options)(Command::new(entry.name));
        let matches = command.try_get_matches_from([&[entry.name], options].concat()).unwrap();
        let planned = (entry.plan)(&matches, &session).unwrap();
        let tables: Result<_, MeasureError> = planned.make(&Maker::this_program(entry.name), || Ok(()));
        let tables = tables.unwrap();
        let expected = (entry.tables)(folder).iter().map(|table| folder.path().join(table.file())).collect::<Vec<_>>();
        assert_eq!(tables, expected);
        for table in tables {
            let lines = std::fs::read_to_string(&table).unwrap_or_default().lines().count();
            assert!(lines > 1, "{} of {} has no row", table.display(), entry.name);
        }
    }

    fn folder(path: &Path) -> Folder {
        let folder = Folder::create(path).unwrap().with_figures_in("figures");
        folder.create_inside("figures").unwrap();
        folder
    }

    /// The measurements that prompts of one form have.
    fn measured_on(other: Needs) -> impl Iterator<Item = &'static Entry> {
        ALL.iter().filter(move |entry| entry.needs != other)
    }

    /// A folder with the tables of every measurement of numbers.
    fn measured(path: &Path) -> Folder {
        let (folder, study, subjects) = (folder(path), study(), Training::new());
        measured_on(Needs::Scores).for_each(|entry| measure(entry, &[], &folder, &study, &subjects));
        measure(&Entry::of::<Projections>(), &["--method", "umap"], &folder, &study, &subjects);
        // What only older programs measured is still drawn.
        let mut rows = folder.table::<MapRow>().read().unwrap();
        let older = rows.iter().filter(|row| row.method == MapMethod::Umap).cloned();
        let older: Vec<_> = older.map(|row| MapRow { method: MapMethod::Tsne, ..row }).collect();
        rows.extend(older);
        folder.table().replace(&rows).unwrap();
        folder
    }

    /// Writes the report, and checks that every measurement but those that need `other` draws all of its figures but those
    /// named, each in the page, and that nothing is left of them without tables.
    fn check_report(folder: &Folder, legend: &Legend, other: Needs, not_drawn: &[&str]) {
        let shown = Shown { folder, legend };
        let frame = || Frame { title: "a fake".to_owned(), ..Frame::default() };
        write_report(&shown, frame()).unwrap();
        let page = std::fs::read_to_string(folder.path().join(REPORT)).unwrap();
        let figure = |name: &str| folder.path().join(format!("figures/{name}.svg"));
        for entry in ALL {
            let sections = (entry.show)(&shown).unwrap();
            let drawn = sections.iter().filter_map(|section| match section {
                Section::Figure { name, figure } => {
                    assert!(page.contains(&figure.title) && !figure.caption.is_empty(), "{name}");
                    Some(*name)
                }
                Section::Table(table) => {
                    assert!(page.contains(&table.title) && !table.rows.is_empty(), "{}", table.title);
                    None
                }
            });
            let mut expected = if entry.needs == other { Vec::new() } else { entry.figures.to_vec() };
            expected.retain(|name| !not_drawn.contains(name));
            assert_eq!(drawn.collect::<Vec<_>>(), expected, "{}", entry.name);
            assert!(expected.iter().all(|name| figure(name).exists()), "{}", entry.name);
        }
        // What is no longer measured is no longer shown.
        ALL.iter().flat_map(|entry| (entry.tables)(folder)).for_each(|table| table.clear().unwrap());
        write_report(&shown, frame()).unwrap();
        let figures = ALL.iter().flat_map(|entry| entry.figures);
        assert!(figures.clone().count() > 0 && figures.clone().all(|name| !figure(name).exists()));
    }

    #[test]
    fn a_subject_written_in_a_test_gets_every_measurement_table_and_figure_and_the_report() {
        let place = tempfile::tempdir().unwrap();
        let legend = Legend::of(study().task.pairs().as_ref());
        check_report(&measured(place.path()), &legend, Needs::Scores, OF_TEXT);
    }

    #[test]
    fn a_model_of_text_gets_its_report_as_well() {
        let place = tempfile::tempdir().unwrap();
        let (folder, study, subjects) = (folder(place.path()), text_study(), TextTraining::new());
        measured_on(Needs::Numbers).for_each(|entry| measure(entry, &[], &folder, &study, &subjects));
        let legend = Legend::of_text(study.task.text().as_ref());
        let summary = Summary::read(&Shown { folder: &folder, legend: &legend }).unwrap().to_text();
        for part in ["after 10 steps, exact answers", "up ", "1.00", "chance 0.50", "permuted answers 1.00"] {
            assert!(summary.contains(part), "{part} is not in {summary}");
        }
        assert!(!summary.contains("squared error"), "{summary}");
        check_report(&folder, &legend, Needs::Numbers, &["map_umap", "map_tsne"]);
    }

    #[test]
    fn measurements_share_no_name_no_figure_and_no_table() {
        let folder = Folder::at("nowhere");
        let names = ALL.iter().map(|entry| entry.name);
        let figures = ALL.iter().flat_map(|entry| entry.figures).copied();
        let tables = ALL.iter().flat_map(|entry| (entry.tables)(&folder)).map(|table| table.file());
        for mut all in [names.collect::<Vec<_>>(), figures.collect(), tables.collect()] {
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "{all:?}");
        }
    }
}
