//! The figures and the report of a run, from its tables alone.

use plots::page::{Report, render};

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

/// The page's file in the run's folder.
pub const REPORT: &str = "report.html";

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
    use record::Folder;

    use super::*;
    use crate::fake::{Training, study};
    use crate::{Entry, MapMethod, MapRow, Session};

    /// Measures with the options given, and checks that no table stays empty.
    fn measure(entry: &Entry, options: &[&str], folder: &Folder) {
        let (study, subjects) = (study(), Training::new());
        let session = Session { study: &study, subjects: &subjects, folder, progress: &|_| {} };
        let command = (entry.add_options)(Command::new(entry.name));
        let matches = command.try_get_matches_from([&[entry.name], options].concat()).unwrap();
        let tables = ((entry.plan)(&matches, &session).unwrap().run)().unwrap();
        let expected = (entry.tables)(folder).iter().map(|table| folder.path().join(table.file())).collect::<Vec<_>>();
        assert_eq!(tables, expected);
        for table in tables {
            let lines = std::fs::read_to_string(&table).unwrap_or_default().lines().count();
            assert!(lines > 1, "{} of {} has no row", table.display(), entry.name);
        }
    }

    /// A folder with the tables of every measurement.
    fn measured(path: &Path) -> Folder {
        let folder = Folder::create(path).unwrap().with_figures_in("figures");
        folder.create_inside("figures").unwrap();
        ALL.iter().for_each(|entry| measure(entry, &[], &folder));
        let map = ALL.iter().find(|entry| entry.name == "map").unwrap();
        measure(map, &["--method", "umap"], &folder);
        // What only older programs measured is still drawn.
        let mut rows = folder.table::<MapRow>().read().unwrap();
        let older = rows.iter().filter(|row| row.method == MapMethod::Umap).cloned();
        let older: Vec<_> = older.map(|row| MapRow { method: MapMethod::Tsne, ..row }).collect();
        rows.extend(older);
        folder.table().replace(&rows).unwrap();
        folder
    }

    #[test]
    fn a_subject_written_in_a_test_gets_every_measurement_table_and_figure_and_the_report() {
        let place = tempfile::tempdir().unwrap();
        let folder = measured(place.path());
        let legend = Legend::of(study().task.pairs().as_ref());
        let shown = Shown { folder: &folder, legend: &legend };
        let frame = || Frame { title: "a fake".to_owned(), ..Frame::default() };
        write_report(&shown, frame()).unwrap();
        let page = std::fs::read_to_string(place.path().join(REPORT)).unwrap();
        let figure = |name: &str| place.path().join(format!("figures/{name}.svg"));
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
            assert_eq!(drawn.collect::<Vec<_>>(), entry.figures, "{}", entry.name);
            assert!(entry.figures.iter().all(|name| figure(name).exists()), "{}", entry.name);
        }
        // What is no longer measured is no longer shown.
        ALL.iter().flat_map(|entry| (entry.tables)(&folder)).for_each(|table| table.clear().unwrap());
        write_report(&shown, frame()).unwrap();
        let figures = ALL.iter().flat_map(|entry| entry.figures);
        assert!(figures.clone().count() > 0 && figures.clone().all(|name| !figure(name).exists()));
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
