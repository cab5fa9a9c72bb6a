//! A task from outside gets the whole command line: training, decodability, figures and report.

use std::path::PathBuf;
use std::process::Command;

use crate::program::{check, only_run, succeed};

/// The program of the package `custom-task`, built beside ours.
fn custom_task() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_emergence")).with_file_name("custom-task");
    // `cargo test` builds the binaries of a package for its own tests only.
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "custom-task"]).status().unwrap();
    assert!(built.success());
    path
}

#[test]
fn a_custom_task_trains_and_has_its_decodability_measured() {
    let root = tempfile::tempdir().unwrap();
    let program = custom_task();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/custom-task/nonlinearity.toml");
    let train = |more: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["train", config, "--quiet", "--out"]).arg(root.path()).args(more).output().unwrap()
    };
    let refused = train(&["--set", "task.d_x=65"]);
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("task.d_x must be between 1 and 64, but is 65"), "{message}");

    assert!(train(&[]).status.success());
    let run = run::RunDir::open(&only_run(root.path())).unwrap();
    let rows = run.table::<analysis::DecodabilityRow>().read().unwrap();
    let last = rows.iter().filter(|row| row.step == 40 && row.probe == probe::ProbeReading::CD);
    let concepts: Vec<_> = last.filter_map(|row| row.concept.clone()).collect();
    assert!(concepts.contains(&"linear".to_owned()) && concepts.contains(&"absolute value".to_owned()));
    assert!(run.path().join("report.html").exists());

    // A program that does not know the task reads what the run's folder says of it.
    for command in ["report", "compare"] {
        succeed(&[command, run.path().to_str().unwrap()]);
    }
    // It cannot draw prompts, though, and says so.
    let known =
        "task.kind must be one of arrays, function_families, process, sparse_regression, but is \"nonlinearity\"";
    check(&["cd", run.path().to_str().unwrap()], 2, &[known]);

    let refused = Command::new(&program).arg("algorithms").arg(run.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("task.kind must be one with closed-form predictors, but is one without"), "{message}");
}
