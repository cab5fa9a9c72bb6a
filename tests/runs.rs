//! What lies in a folder of runs: listed, compared and tidied up.

use std::fs::{File, copy, create_dir, read_dir, read_to_string, write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::program::{check, files, only_run, smoke_run, succeed};

fn copy_folder(from: &Path, to: &Path) {
    create_dir(to).unwrap();
    for file in read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

#[test]
fn runs_are_listed_with_their_states_however_broken() {
    let (root, run) = smoke_run();
    let sweep = root.path().join("sweep");
    create_dir(&sweep).unwrap();
    let broken = sweep.join("broken");
    create_dir(&broken).unwrap();
    write(broken.join("config.toml"), "name = ").unwrap();
    let stopped = sweep.join("stopped");
    create_dir(&stopped).unwrap();
    for file in ["config.toml", "seal.toml", "legend.toml"] {
        copy(run.join(file), stopped.join(file)).unwrap();
    }
    // As a copy leaves it that was made in another order.
    let map = File::options().append(true).open(run.join("map.csv")).unwrap();
    map.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    let list = succeed(&["runs", "list", root.path().to_str().unwrap()]);
    let state = |path: &Path| {
        let line = list.lines().find(|line| line.starts_with(&format!("{}  ", path.display()))).unwrap();
        line.split_once("  ").unwrap().1.to_owned()
    };
    assert_eq!(state(&run), "finished");
    assert_eq!(state(&stopped), "not begun");
    assert!(state(&broken).contains("config.toml"), "{list}");
    check(&["runs", "list", broken.join("none").to_str().unwrap()], 2, &["FOLDERS must be", "there is none in"]);
}

#[test]
fn two_runs_are_told_apart_by_their_settings() {
    let (_root, run) = smoke_run();
    let out = tempfile::tempdir().unwrap();
    let sets = ["--set", "train.steps=2", "--set", "probe.neighbours=7", "--quiet", "--out"];
    succeed(&[&["train", "smoke"], &sets[..], &[out.path().to_str().unwrap()]].concat());
    let other = only_run(out.path());
    let text = succeed(&["runs", "diff", run.to_str().unwrap(), other.to_str().unwrap()]);
    assert_eq!(text, "probe.neighbours  10  7\ntrain.steps  40  2\n");
    assert_eq!(succeed(&["runs", "diff", run.to_str().unwrap(), run.to_str().unwrap()]), "");
}

#[test]
fn only_what_nothing_needs_is_removed_and_only_when_it_is_asked_for() {
    let (root, run) = smoke_run();
    let (before, checkpoints) = (files(root.path()), run.join("checkpoints"));
    let unneeded = ["00000007", "00000008.damaged", "00000020.damaged-2", "00000010.unmeasured"];
    for name in unneeded {
        copy_folder(&checkpoints.join("00000010"), &checkpoints.join(name));
    }
    let there = files(root.path());
    let folder = root.path().to_str().unwrap();
    let shown = succeed(&["runs", "clean", folder]);
    assert!(files(root.path()) == there, "showing removes nothing");
    for name in unneeded {
        assert!(shown.contains(&format!("{}  ", checkpoints.join(name).display())), "{shown}");
    }
    assert_eq!(shown.lines().count(), unneeded.len());
    assert_eq!(succeed(&["runs", "clean", folder, "--yes"]), shown);
    assert!(files(root.path()) == before);
    assert!(read_to_string(checkpoints.join("00000010/meta.toml")).is_ok());
}

#[test]
fn a_damaged_run_does_not_keep_the_others_from_being_cleaned() {
    let (root, run) = smoke_run();
    let unneeded = run.join("checkpoints/00000008.damaged");
    copy_folder(&run.join("checkpoints/00000008"), &unneeded);
    for name in ["a-damaged-run", "another"] {
        create_dir(root.path().join(name)).unwrap();
        write(root.path().join(name).join("config.toml"), "seed = ").unwrap();
    }
    check(&["runs", "clean", root.path().to_str().unwrap(), "--yes"], 1, &["a-damaged-run", "another", "removed"]);
    assert!(!unneeded.exists() && run.join("checkpoints/00000008").exists());
}

#[test]
fn the_machine_is_examined_and_a_folder_that_cannot_be_written_is_named() {
    let place = tempfile::tempdir().unwrap();
    let said = succeed(&["doctor", "--out", place.path().join("runs").to_str().unwrap()]);
    for line in ["program", "platform", "cores", "memory", "products", "GPU", "folder"] {
        assert!(said.lines().any(|said| said.starts_with(line)), "no {line} in\n{said}");
    }
    assert_eq!(read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
    let file = place.path().join("file");
    write(&file, "").unwrap();
    check(&["doctor", "--out", file.join("runs").to_str().unwrap()], 1, &["could not lock", "file"]);
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_str().unwrap();
    succeed(&["man", folder]);
    let page = read_to_string(place.path().join("emergence-sweep.1")).unwrap();
    assert!(
        page.contains("\\-\\-slurm") && page.contains("Folder that runs, tables and figures are made in"),
        "{page}"
    );
    for command in ["emergence", "emergence-lm-measure", "emergence-runs-clean"] {
        assert!(place.path().join(format!("{command}.1")).is_file(), "{command}");
    }
    succeed(&["man", folder]);
    write(place.path().join("emergence.1"), "somebody's").unwrap();
    check(&["man", folder], 2, &["emergence.1 would be written over"]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(succeed(&["completions", shell]).contains("max-runs"), "{shell}");
    }
}

#[test]
fn runs_are_compared_by_a_probe_that_all_of_them_have() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().to_str().unwrap();
    for (seed, probes) in [("0", "probe.probes=[\"knn\",\"centroid\"]"), ("1", "probe.probes=[\"knn\",\"linear\"]")] {
        succeed(&["train", "smoke", "--quiet", "--seed", seed, "--set", probes, "--out", out]);
    }
    check(&["compare", out, "--probe", "linear"], 2, &["--probe", "probe.probes of every run (knn)", "linear"]);
    check(&["compare", out, "--probe", "quadratic"], 2, &["--probe", "probe.probes of every run (knn)", "quadratic"]);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2, "nothing is written");
    succeed(&["compare", out]);
    let compared = root.path().join("compare");
    let before = files(&compared);
    for run in read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|run| *run != compared) {
        let header = read_to_string(run.join("cd.csv")).unwrap().lines().next().unwrap().to_owned();
        write(run.join("cd.csv"), header + "\n").unwrap();
    }
    check(&["compare", out], 2, &["decodability were measured, but there is none"]);
    assert_eq!(files(&compared), before);
}
