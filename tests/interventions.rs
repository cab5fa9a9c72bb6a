//! Patching, interchange of heads, head ablation and layer exchange agree with the run's own tables where they must.

use std::path::Path;

use analysis::{
    AblationRow, Donor, ExchangeRow, HeadInterchangeRow, HeadScoreRow, MetricRow, PatchKind, PatchRow, Places,
};
use data::Token;
use probe::Layer;
use run::RunDir;
use tempfile::TempDir;

use crate::program::{check, only_run, smoke_run, succeed};

/// The same f64 errors, summed in another order.
const SUM_TOLERANCE: f64 = 1e-12;
/// Predictions of prompts that were cut short, whose f32 sums are in another order: an f32 has a precision of 6e-8.
const CUT_TOLERANCE: f64 = 1e-5;

#[test]
fn with_one_prompt_a_concept_interchange_has_no_controls_and_is_refused() {
    let (_root, run) = smoke_run();
    let path = run.to_str().unwrap();
    succeed(&["remeasure", path, "--set", "eval.prompts_per_concept=1"]);
    for command in ["interchange", "interchange-heads"] {
        check(&[command, path], 2, &["eval.prompts_per_concept must be at least 2", "but is 1"]);
    }
}

/// A finished run of the smoke preset.
fn smoke() -> (TempDir, RunDir) {
    let (root, run) = smoke_run();
    (root, RunDir::open(&run).unwrap())
}

fn smoke_with(root: &Path, more: &[&str]) -> RunDir {
    succeed(&[&["train", "smoke", "--quiet", "--out", root.to_str().unwrap()], more].concat());
    RunDir::open(&only_run(root)).unwrap()
}

/// Runs a command on the run and returns the table it wrote.
fn table<R: record::Row>(run: &RunDir, command: &[&str]) -> Vec<R> {
    let path = succeed(&[&[command[0], run.path().to_str().unwrap()], &command[1..]].concat());
    assert_eq!(path.trim_end(), run.table::<R>().path().to_str().unwrap());
    run.table().read().unwrap()
}

/// The error that was measured in training.
fn measured(run: &RunDir, step: usize, concept: Option<&str>, position: Option<usize>) -> f64 {
    let rows = run.table::<MetricRow>().read().unwrap();
    let there = |row: &&MetricRow| row.step == step && row.concept.as_deref() == concept && row.position == position;
    rows.iter().find(there).unwrap().relative_mse
}

fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() <= tolerance, "{found} is not {expected}");
}

#[test]
fn what_patching_adds_is_added_to_the_error_of_the_run() {
    let (_root, run) = smoke();
    let rows: Vec<PatchRow> = table(&run, &["patch", "--mean-prompts", "10"]);
    // Two sources; three layers with two targets and three controls; nine strengths of two targets and one control.
    assert_eq!(rows.iter().filter(|row| row.step == 40).count(), 2 * (3 * 5 + 9 * 3));
    for row in &rows {
        let expected = measured(&run, row.step, Some(&row.source), Some(6));
        assert_close(row.error - row.change, expected, CUT_TOLERANCE);
        assert!(row.lo <= row.change && row.change <= row.hi);
    }
    let still = rows.iter().filter(|row| row.kind == PatchKind::Itself || row.strength == Some(0.0));
    assert!(still.clone().count() > 0 && still.clone().all(|row| (row.change, row.lo, row.hi) == (0.0, 0.0, 0.0)));
    // Shorter prompts, another token, one layer and checkpoint.
    let command = ["patch", "--points", "3", "--token", "y", "--step", "8", "--layer", "1", "--strengths=-1.5"];
    let rows: Vec<PatchRow> = table(&run, &command);
    assert_eq!(rows.len(), 2 * (5 + 3));
    for row in &rows {
        assert_eq!((row.step, row.layer, row.token, row.position), (8, Layer(1), Token::Y(2), 3));
        assert_close(row.error - row.change, measured(&run, 8, Some(&row.source), Some(3)), CUT_TOLERANCE);
    }
}

#[test]
fn what_pruning_adds_is_added_to_the_error_of_the_run() {
    let (_root, run) = smoke();
    let rows: Vec<AblationRow> = table(&run, &["prune", "--step", "20"]);
    assert_eq!(rows.len(), 2 * 2 * 3, "two layers of two heads, two concepts and all");
    for row in &rows {
        assert_close(row.error - row.change, measured(&run, 20, row.concept.as_deref(), None), SUM_TOLERANCE);
    }
}

/// No block reads what the last one writes at y tokens.
#[test]
fn heads_do_nothing_with_their_own_output_and_nothing_where_it_is_not_read() {
    let (_root, run) = smoke();
    let rows: Vec<HeadInterchangeRow> = table(&run, &["interchange-heads", "--found-on", "10"]);
    assert_eq!(
        rows.len(),
        2 * 3 * 2 * 9 * 2,
        "two layers of two heads and both together, two sets of tokens, nine donors, two targets"
    );
    for row in &rows {
        let unread = row.layer == Layer(2) && row.places == Places::EveryY;
        let still = (row.slope, row.slope_lo, row.slope_hi) == (0.0, 0.0, 0.0);
        assert_eq!(still, unread || row.donor == Donor::Itself, "{row:?}");
    }
    let rows: Vec<HeadScoreRow> = table(&run, &["heads", "--step", "8,40", "--mean-prompts", "10"]);
    assert_eq!(rows.len(), 2 * 2 * 2, "two checkpoints, two layers of two heads");
    assert!(rows.iter().all(|row| row.induction_lo > 0.0 && row.induction_hi < 1.0 && row.function_vector != 0.0));
}

#[test]
fn a_checkpoint_transplanted_into_itself_is_the_checkpoint() {
    let (_root, run) = smoke();
    let rows: Vec<ExchangeRow> = table(&run, &["transplant", "--step", "0,10,40", "--layer", "1"]);
    assert_eq!(rows.len(), 3 * 3 * 3, "three by three checkpoints, two concepts and all");
    for row in rows.iter().filter(|row| row.early_step == row.late_step) {
        assert_close(row.error, measured(&run, row.early_step, row.concept.as_deref(), None), SUM_TOLERANCE);
    }
    // All layers and the read-out of one checkpoint: only the last norm and the read-out are of the other.
    let rows: Vec<ExchangeRow> = table(&run, &["transplant", "--layer", "2"]);
    assert!(rows.iter().any(|row| row.early_step == 0) && rows.iter().any(|row| row.late_step == 40));
}

/// The decoder of a model with a latent starts from the embedding of the query: what the encoder makes of it is lost.
#[test]
fn before_a_latent_only_the_embedding_of_the_query_counts() {
    let root = tempfile::tempdir().unwrap();
    let run = smoke_with(root.path(), &["--set", "model.latent={width=3,decoder_layers=1}"]);
    let rows: Vec<PatchRow> = table(&run, &["patch", "--mean-prompts", "10"]);
    let changed = |layer| {
        rows.iter()
            .filter(move |row| row.layer == Layer(layer) && row.kind == PatchKind::Concept && row.strength.is_none())
            .map(|row| row.change)
    };
    assert!(changed(1).count() > 0 && changed(1).all(|change| change == 0.0));
    assert!(changed(0).chain(changed(2)).all(|change| change != 0.0));
    let rows: Vec<PatchRow> = table(&run, &["patch", "--token", "y", "--layer", "1", "--step", "40"]);
    assert!(rows.iter().any(|row| row.kind == PatchKind::Concept && row.change != 0.0));
    let rows: Vec<HeadInterchangeRow> = table(&run, &["interchange-heads", "--places", "query_x", "--found-on", "10"]);
    let moved = |row: &&HeadInterchangeRow| row.slope != 0.0;
    assert!(rows.iter().filter(moved).all(|row| row.layer == Layer(2)) && rows.iter().any(|row| moved(&row)));
    let rows: Vec<ExchangeRow> = table(&run, &["transplant", "--step", "0,40", "--layer", "1"]);
    for row in rows.iter().filter(|row| row.early_step == row.late_step) {
        assert_close(row.error, measured(&run, row.early_step, row.concept.as_deref(), None), SUM_TOLERANCE);
    }
}

#[test]
fn threads_change_nothing_and_the_report_shows_it_all() {
    let (_root, run) = smoke();
    let folder = run.path().to_str().unwrap();
    let written = |threads: &str| {
        ["patch", "prune", "transplant", "interchange-heads", "heads"]
            .iter()
            .for_each(|command| drop(succeed(&[command, folder, "--threads", threads])));
        ["patching", "pruning", "transplant", "interchange_heads", "heads"]
            .map(|table| std::fs::read(run.path().join(format!("{table}.csv"))).unwrap())
    };
    assert!(written("1") == written("3"));
    succeed(&["report", folder]);
    let html = std::fs::read_to_string(run.path().join("report.html")).unwrap();
    for figure in ["patching", "patching_sweep", "steering", "pruning", "transplant", "interchange_heads", "heads"] {
        let svg = std::fs::read_to_string(run.path().join(format!("plots/{figure}.svg"))).unwrap();
        assert!(html.contains(&svg), "{figure} is not in the report");
    }
}
