//! `train.until`: a run ends at the first checkpoint whose error is low enough, or that is far behind, and is finished then.

use std::path::{Path, PathBuf};

use analysis::{BaselineRow, MetricRow};
use run::RunDir;

use crate::program::{check, files, only_run, smoke_run, succeed};

/// The error over that of the optimal predictor at each checkpoint.
fn errors(run: &Path) -> Vec<(usize, f64)> {
    let run = RunDir::open(run).unwrap();
    let baselines = run.table::<BaselineRow>().read().unwrap();
    let overall = |row: &&BaselineRow| row.predictor == "bayes" && row.concept.is_none() && row.position.is_none();
    let bayes = baselines.iter().find(overall).unwrap().relative_mse;
    let rows = run.table::<MetricRow>().read().unwrap();
    let overall = rows.iter().filter(|row| row.concept.is_none() && row.position.is_none());
    overall.map(|row| (row.step, row.relative_mse / bayes)).collect()
}

/// The same training as the smoke run's, with `train.until`.
fn smoke_until(out: &Path, until: &str) -> PathBuf {
    let until = format!("train.until={{{until}}}");
    succeed(&["train", "smoke", "--quiet", "--set", &until, "--out", out.to_str().unwrap()]);
    only_run(out)
}

#[test]
fn a_run_ends_where_its_error_is_low_enough() {
    let ((_root, whole), out) = (smoke_run(), tempfile::tempdir().unwrap());
    let whole = errors(&whole);
    let &(end, error) = whole.iter().find(|(step, _)| *step == 30).unwrap();
    assert!(whole.iter().all(|&(step, other)| step >= 30 || other > error), "{whole:?}");

    let until = format!("error_over_bayes={error}");
    let run = smoke_until(out.path(), &until);
    let until_then: Vec<_> = whole.into_iter().filter(|(step, _)| *step <= end).collect();
    assert_eq!(errors(&run), until_then);
    let path = run.to_str().unwrap();
    let listed = succeed(&["runs", "list", path]);
    assert!(listed.contains("finished at step 30 of 40"), "{listed}");

    // Nothing is left to do, and the target stays.
    let before = files(out.path());
    smoke_until(out.path(), &until);
    assert!(files(out.path()) == before);
    check(&["resume", path, "--steps", "80"], 2, &["ended with step 30", "without train.until"]);

    // Whoever is stopped before the last checkpoint counts comes to the same end.
    let last = run.join("checkpoints/00000030");
    std::fs::rename(&last, last.with_extension("unmeasured")).unwrap();
    assert!(succeed(&["runs", "list", path]).contains("stopped at step 20 of 40"));
    succeed(&["resume", path, "--quiet"]);
    assert_eq!(errors(&run), until_then);
    assert!(last.exists() && !run.join("checkpoints/00000040").exists());
}

#[test]
fn a_run_that_is_far_behind_is_given_up() {
    let out = tempfile::tempdir().unwrap();
    let run = smoke_until(out.path(), "error_over_bayes=1.1, give_up={after=9, above=1.2}");
    assert_eq!(errors(&run).last().unwrap().0, 10, "the first checkpoint behind step 9");
    let ended = std::fs::read_to_string(run.join("ended.toml")).unwrap();
    assert!(ended.contains("given_up"), "{ended}");
}
