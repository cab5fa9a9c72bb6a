//! A finished run is asked about another task: its own tables stay, and the others lie beside them.

use std::fs;
use std::path::{Path, PathBuf};

use record::Row;

use crate::elsewhere::arrays_of_smoke;
use crate::program::{check, files, smoke_run, succeed};

/// A file with a task, in a folder of its own.
fn file(place: &Path, name: &str, text: &str) -> String {
    let path = place.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ask(command: &str, run: &Path, file: &str) -> Vec<PathBuf> {
    succeed(&[command, run.to_str().unwrap(), "--task", file]).lines().map(PathBuf::from).collect()
}

#[test]
fn its_own_task_gets_its_own_numbers_and_changes_nothing() {
    let ((_root, run), place) = (smoke_run(), tempfile::tempdir().unwrap());
    let before = files(&run);
    let same = file(place.path(), "same.toml", "task.noise_variance = 0.01");
    for command in ["errors", "cd", "baselines", "patch"] {
        for path in ask(command, &run, &same) {
            let home = run.join(path.file_name().unwrap());
            assert_eq!(path.parent().unwrap(), run.join("on/same"));
            let rows = fs::read(&path).unwrap();
            assert!(!rows.is_empty() && (!home.exists() || rows == fs::read(&home).unwrap()), "{}", path.display());
        }
    }
    let now: Vec<_> = files(&run).into_iter().filter(|(path, _)| !path.starts_with("on")).collect();
    assert!(now.into_iter().eq(before));
    // It is reported and compared as a run is.
    assert!(run.join("on/same/report.html").exists() && run.join("on/same/compare/points.csv").exists());
    succeed(&["report", run.join("on/same").to_str().unwrap()]);
}

#[test]
fn more_noise_shorter_prompts_and_prompts_of_a_file_are_measured() {
    let ((_root, run), place) = (smoke_run(), tempfile::tempdir().unwrap());
    let noisy = file(place.path(), "noisy.toml", "task.noise_variance = 4");
    // The error on the first concept at the end: concepts of a file have weights of their own.
    let last = |folder: &Path| {
        let rows = record::Folder::at(folder).table::<analysis::MetricRow>().read().unwrap();
        let end =
            |row: &&analysis::MetricRow| row.position.is_none() && row.concept.is_some() && row.step() == Some(40);
        rows.iter().find(end).unwrap().mse
    };
    ask("errors", &run, &noisy);
    // The noise is added to the error of whoever answers.
    let (home, there) = (last(&run), last(&run.join("on/noisy")));
    assert!((3.0..5.0).contains(&(there - home)), "{there} {home}");
    let short = file(place.path(), "short.toml", "task.n_points = 3\nprobe.tokens = [\"x3\"]");
    ask("cd", &run, &short);
    assert!(fs::read_to_string(run.join("on/short/cd.csv")).unwrap().contains("x3"));
    arrays_of_smoke(place.path(), |_| {});
    let arrays = file(place.path(), "arrays.toml", "task = { kind = \"arrays\", file = \"prompts.npz\" }");
    ask("errors", &run, &arrays);
    assert_eq!(last(&run.join("on/arrays")).to_bits(), last(&run).to_bits());
}

#[test]
fn a_run_that_is_lengthened_is_asked_on() {
    let ((_root, run), place) = (smoke_run(), tempfile::tempdir().unwrap());
    let noisy = file(place.path(), "noisy.toml", "task.noise_variance = 4");
    ask("errors", &run, &noisy);
    succeed(&["resume", run.to_str().unwrap(), "--steps", "41", "--quiet"]);
    ask("errors", &run, &noisy);
    let rows = record::Folder::at(run.join("on/noisy")).table::<analysis::MetricRow>().read().unwrap();
    assert_eq!(rows.iter().filter_map(Row::step).max(), Some(41));
}

#[test]
fn what_cannot_be_asked_is_refused_and_makes_nothing() {
    let ((_root, run), place) = (smoke_run(), tempfile::tempdir().unwrap());
    let name = run.to_str().unwrap();
    let wide = file(place.path(), "wide.toml", "task.d_x = 5");
    check(&["cd", name, "--task", &wide], 2, &["task.d_x must be that of the model (4), but is 5"]);
    let long = file(place.path(), "long.toml", "task.n_points = 7");
    check(&["errors", name, "--task", &long], 2, &["task.n_points must be at most that of the model (6), but is 7"]);
    check(&["cd", name, "--task", "missing.toml"], 2, &["missing.toml"]);
    let spaced = file(place.path(), "my task.toml", "task.noise_variance = 1");
    check(&["cd", name, "--task", &spaced], 2, &["--task must be a file whose name", "but is \"my task\""]);
    assert!(!run.join("on").exists());

    let noisy = file(place.path(), "noisy.toml", "task.noise_variance = 1");
    ask("errors", &run, &noisy);
    let before = files(&run);
    file(place.path(), "noisy.toml", "task.noise_variance = 2");
    let words =
        ["on/noisy was asked with other settings", "task.noise_variance must be 1.0, but is 2.0", "another name"];
    check(&["errors", name, "--task", &noisy], 2, &words);
    // No models are there.
    let there = run.join("on/noisy");
    for command in ["resume", "cd", "export"] {
        check(&[command, there.to_str().unwrap()], 2, &["were asked about another task", "--task"]);
    }
    assert!(files(&run) == before);
}
