//! A run that an older program made opens, reports and compares for ever: `tests/fixtures` has one, and says how it was
//! made.

use std::path::{Path, PathBuf};

use analysis::{
    AblationRow, AlgorithmRow, BaselineRow, BestLayerRow, ComponentRow, DecodabilityRow, ExchangeRow, MapRow,
    MetricRow, PairRow, PatchRow, PositionRow, SensitivityRow, SeparationRow, SweepRow,
};
use data::TaskRegistry;
use record::Row;
use run::RunDir;
use tempfile::TempDir;
use trainer::TrainingRow;

use crate::program::{files, only_run, succeed, write_files};

/// The fixture's own folder, which no test may change.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/run-a1da5a0/fixture-1f8253e2");

/// A copy of the fixture, and the folder that it lies in, which goes when it is dropped.
pub(crate) fn fixture() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join(Path::new(FIXTURE).file_name().unwrap());
    write_files(&files(Path::new(FIXTURE)), &run);
    (root, run)
}

/// Reads a table and writes it anew, which must change no byte; returns its file's name.
fn read_and_write<R: Row>(run: &RunDir) -> String {
    let table = run.table::<R>();
    let before = std::fs::read_to_string(table.path()).unwrap();
    let rows = table.read().unwrap();
    assert_eq!(rows.len(), before.lines().count() - 1, "{}", R::FILE);
    table.replace(&rows).unwrap();
    assert!(std::fs::read_to_string(table.path()).unwrap() == before, "{} has other bytes", R::FILE);
    R::FILE.to_owned()
}

#[test]
fn every_table_is_read_and_keeps_its_bytes() {
    let (_root, run) = fixture();
    let opened = RunDir::open(&run).unwrap();
    let tables: [fn(&RunDir) -> String; 15] = [
        read_and_write::<TrainingRow>,
        read_and_write::<MetricRow>,
        read_and_write::<BaselineRow>,
        read_and_write::<DecodabilityRow>,
        read_and_write::<BestLayerRow>,
        read_and_write::<MapRow>,
        read_and_write::<AlgorithmRow>,
        read_and_write::<PatchRow>,
        read_and_write::<AblationRow>,
        read_and_write::<ExchangeRow>,
        read_and_write::<PositionRow>,
        read_and_write::<SeparationRow>,
        read_and_write::<PairRow>,
        read_and_write::<SensitivityRow>,
        read_and_write::<ComponentRow>,
    ];
    let mut read = tables.map(|table| table(&opened));
    read.sort();
    let is_table = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "csv");
    let there: Vec<PathBuf> = files(&run).into_keys().filter(is_table).collect();
    assert_eq!(read.map(PathBuf::from).to_vec(), there);
}

#[test]
fn every_checkpoint_is_read() {
    let (_root, run) = fixture();
    let run = RunDir::open(&run).unwrap();
    let experiment = run.experiment(&TaskRegistry::builtin()).unwrap();
    assert_eq!(run.steps().unwrap(), [0, 1, 2, 4]);
    for step in run.steps().unwrap() {
        let checkpoint = run.checkpoint(&experiment, step).unwrap();
        // The last two have what it takes to go on.
        assert_eq!((checkpoint.step, checkpoint.moments.is_some()), (step, step >= 2));
    }
}

#[test]
fn the_report_draws_the_same_figures() {
    let (_root, run) = fixture();
    let plots = run.join("plots");
    let before = files(&plots);
    assert_eq!(before.len(), 16);
    std::fs::remove_dir_all(&plots).unwrap();
    succeed(&["report", run.to_str().unwrap()]);
    let (html, mut drawn) = (std::fs::read_to_string(run.join("report.html")).unwrap(), files(&plots));
    for (name, svg) in before {
        assert!(drawn.remove(&name).is_some_and(|drawn| drawn == svg), "{} is another figure", name.display());
        assert!(html.contains(std::str::from_utf8(&svg).unwrap()), "{} is not in the report", name.display());
        assert!(drawn.remove(&name.with_extension("png")).is_some_and(|png| png.starts_with(b"\x89PNG")));
    }
    assert!(drawn.is_empty(), "{:?} are new", drawn.keys());
}

#[test]
fn it_is_compared() {
    let (root, run) = fixture();
    for (probe, out) in [("knn", "compare"), ("quadratic", "compare-quadratic")] {
        succeed(&["compare", run.to_str().unwrap(), "--probe", probe]);
        let ends = record::Folder::create(&root.path().join(out)).unwrap().table::<SweepRow>().read().unwrap();
        // One row for all concepts together and one for each of the two.
        assert_eq!(ends.len(), 3);
        assert!(ends.iter().all(|row| row.step == 4 && row.error > 0.0 && row.run.starts_with("fixture-")));
    }
}

#[test]
fn it_is_found_by_what_its_configuration_says_and_continued() {
    let (root, run) = fixture();
    let (config, out) = (run.join("config.toml"), root.path().to_str().unwrap());
    let checkpoints = || files(&run.join("checkpoints"));
    let before = checkpoints();
    succeed(&["train", config.to_str().unwrap(), "--quiet", "--out", out]);
    assert_eq!(only_run(root.path()), run, "no other folder is made");
    assert!(checkpoints() == before, "no step is taken");
    // The steps behind an earlier checkpoint are taken again. Their bits depend on the instruction set of the machine.
    std::fs::remove_dir_all(run.join("checkpoints/00000004")).unwrap();
    succeed(&["resume", run.to_str().unwrap(), "--quiet"]);
    assert!(checkpoints().into_keys().eq(before.into_keys()));
    let errors = RunDir::open(&run).unwrap().table::<MetricRow>().read().unwrap();
    assert!(errors.iter().any(|row| row.step == 4 && row.mse.is_finite()));
}
