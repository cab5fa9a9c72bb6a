//! A run is found by its settings, whatever its folder is called and whichever program made it.

use std::path::{Path, PathBuf};

use crate::program::{check, files, notes_of, only_run, smoke_run, succeed};

#[test]
fn another_way_of_measuring_is_refused_and_every_byte_stays() {
    let (root, run) = smoke_run();
    let before = files(root.path());
    let remeasure = format!("remeasure {} --set probe.neighbours=7", run.display());
    let words = ["probe.neighbours is 10 there, and 7 is asked for", remeasure.as_str()];
    for command in ["train", "sweep"] {
        let out = root.path().to_str().unwrap();
        check(&[command, "smoke", "--out", out, "--set", "probe.neighbours=7"], 2, &words);
    }
    assert!(files(root.path()) == before);
}

#[test]
fn a_run_of_an_earlier_program_goes_on_in_its_folder() {
    let (root, run) = smoke_run();
    // As version 1 left it, which had another rule for the hash in the name.
    let old = root.path().join("smoke-987aa00a");
    std::fs::rename(run, &old).unwrap();
    ["seal.toml", "legend.toml"].iter().for_each(|name| std::fs::remove_file(old.join(name)).unwrap());
    let config = std::fs::read_to_string(old.join("config.toml")).unwrap();
    std::fs::write(old.join("config.toml"), config.split_once('\n').unwrap().1).unwrap();
    let mut before = files(root.path());
    for command in ["report", "cd"] {
        succeed(&[command, old.to_str().unwrap()]);
    }
    succeed(&["train", "smoke", "--quiet", "--out", root.path().to_str().unwrap()]);
    assert_eq!(only_run(root.path()), old);
    let mut after = files(root.path());
    let inside = |name: &str| Path::new("smoke-987aa00a").join(name);
    assert!(["seal.toml", "legend.toml"].iter().all(|name| after.remove(&inside(name)).is_some()));
    // The report has the configuration in the version of today, and decodability was measured by another command.
    for files in [&mut before, &mut after] {
        ["report.html", "made.toml"].iter().for_each(|name| drop(files.remove(&inside(name))));
    }
    assert!(after == before);
}

#[test]
fn what_was_measured_with_other_settings_goes_and_what_was_not_stays() {
    let (root, run) = smoke_run();
    let name = run.to_str().unwrap();
    let noisy = root.path().join("noisy.toml");
    std::fs::write(&noisy, "task.noise_variance = 0.5").unwrap();
    succeed(&["tdnv", name]);
    succeed(&["errors", name, "--task", noisy.to_str().unwrap()]);
    let measured = [run.join("tdnv.csv"), run.join("on/noisy/metrics.csv")];
    let before = measured.each_ref().map(|path| std::fs::read(path).unwrap());
    succeed(&["remeasure", name, "--set", "probe.neighbours=10"]);
    succeed(&["remeasure", name, "--set", "name=other"]);
    assert!(measured.each_ref().map(|path| std::fs::read(path).unwrap()) == before);
    succeed(&["export", name]);
    let notes = notes_of(&["remeasure", name, "--set", "probe.neighbours=7"]);
    assert!(notes.contains("export is as it was exported, with the settings before"), "{notes}");
    assert!(measured.iter().all(|path| !path.exists()));
    succeed(&["errors", name, "--task", noisy.to_str().unwrap()]);
}

#[test]
fn what_an_interrupted_remeasure_left_out_is_measured_when_the_run_is_resumed() {
    let (_root, run) = smoke_run();
    let tables = ["baselines.csv", "metrics.csv", "cd.csv", "cd_best.csv", "map.csv"].map(|name| run.join(name));
    let contents = || tables.each_ref().map(|path| std::fs::read(path).unwrap());
    let before = contents();
    let remove = |path: &PathBuf| std::fs::remove_file(path).unwrap();
    let keep_columns = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, text.split_inclusive('\n').next().unwrap()).unwrap();
    };
    let losses: [&dyn Fn(&PathBuf); 2] = [&remove, &keep_columns];
    for lose in losses {
        tables.iter().for_each(lose);
        let state = succeed(&["runs", "list", run.to_str().unwrap()]);
        assert!(state.contains("trained, but not yet measured in full"), "{state}");
        succeed(&["resume", run.to_str().unwrap(), "--quiet"]);
        assert!(contents() == before);
    }
}
