//! A sweep over the jobs of a cluster, with stand-ins for the scheduler.

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data::TaskRegistry;
use run::{Config, RunDir, Source};
use serde_json::Value;

use crate::program::{emergence, files, stderr, succeed};

const SWEEP: &str =
    "extends = \"smoke\"\nname = \"noises\"\nseeds = [0, 1]\n[grid]\ntask.noise_variance = [0.01, 0.5]\n";

/// A folder with the sweep's file, and the words that every command has.
fn place() -> (tempfile::TempDir, [String; 4]) {
    let place = tempfile::tempdir().unwrap();
    write(place.path().join("sweep.toml"), SWEEP).unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let words = ["sweep".to_owned(), path("sweep.toml"), "--out".to_owned(), path("out")];
    (place, words)
}

fn with<'a>(words: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    words.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

/// The states of the runs, by place.
fn states(words: &[String]) -> Vec<String> {
    let members: Value = serde_json::from_str(&succeed(&with(words, &["--list", "--json"]))).unwrap();
    let members = members.as_array().unwrap();
    assert!(members.iter().enumerate().all(|(place, member)| member["index"] == place));
    members.iter().map(|member| member["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn tasks_of_an_array_do_a_run_each_and_the_last_job_compares() {
    let (place, words) = place();
    assert_eq!(states(&words), ["missing"; 4]);
    assert!(!place.path().join("out").exists(), "a list makes nothing");
    for index in ["2", "0", "3"] {
        succeed(&with(&words, &["--index", index, "--quiet"]));
    }
    assert_eq!(states(&words), ["finished", "missing", "finished", "finished"]);
    assert!(!place.path().join("out/sweep.csv").exists());
    let early = emergence(&with(&words, &["--collect"])).output().unwrap();
    assert_eq!(early.status.code(), Some(1));
    assert!(stderr(&early).contains("1 not finished: 1 is missing"), "{}", stderr(&early));
    // What is finished is not touched, and what is not in the list is refused.
    let before = files(place.path());
    succeed(&with(&words, &["--index", "2", "--quiet"]));
    let beyond = emergence(&with(&words, &["--index", "4"])).output().unwrap();
    assert_eq!(beyond.status.code(), Some(2));
    assert!(stderr(&beyond).contains("--index must be between 0 and 3, but is 4"), "{}", stderr(&beyond));
    assert!(files(place.path()) == before);
    succeed(&with(&words, &["--index", "1", "--quiet"]));
    succeed(&with(&words, &["--collect"]));
    let whole = tempfile::tempdir().unwrap();
    let together = ["sweep", &words[1], "--quiet", "--out", whole.path().to_str().unwrap()];
    succeed(&together);
    for table in ["sweep.csv", "points.csv", "curves.csv"] {
        let [ours, theirs] = [place.path().join("out"), whole.path().to_owned()]
            .map(|folder| std::fs::read(folder.join(table)).unwrap());
        assert!(ours == theirs, "{table}");
    }
}

#[test]
fn a_failed_run_fails_its_task_and_is_listed_with_its_reason() {
    let (_place, words) = place();
    let broken = ["--set", "train.learning_rate=1e30"];
    let task = emergence(&with(&words, &[&broken[..], &["--index", "1"]].concat())).output().unwrap();
    assert_eq!(task.status.code(), Some(1), "{}", stderr(&task));
    let list = succeed(&with(&words, &[&broken[..], &["--list"]].concat()));
    let line = list.lines().nth(1).unwrap();
    assert!(line.contains("failed") && line.contains("the loss is not finite"), "{list}");
    // A run that goes on has not failed.
    let all = emergence(&with(&words, &[&broken[..], &["--fail-fast", "--quiet"]].concat())).output().unwrap();
    assert!(stderr(&all).contains("1 failed"), "{}", stderr(&all));
}

#[test]
fn as_many_runs_are_begun_as_are_asked_for() {
    let (_place, words) = place();
    succeed(&with(&words, &["--max-runs", "1", "--quiet"]));
    assert_eq!(states(&words), ["finished", "stopped", "stopped", "stopped"]);
    succeed(&with(&words, &["--max-runs", "2", "--jobs", "2", "--quiet"]));
    assert_eq!(states(&words), ["finished", "finished", "finished", "stopped"]);
}

/// A program of that name on PATH that notes how it was called.
fn stand_in(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    write(&path, format!("#!/bin/sh\necho \"{name} $*\" >> {}/calls\n{script}\n", folder.display())).unwrap();
    set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn only_what_is_to_be_done_is_submitted_with_a_job_behind_it() {
    let (place, words) = place();
    succeed(&with(&words, &["--index", "1", "--quiet"]));
    // Somebody is at the first run.
    let sets = ["name=noises", "task.noise_variance=0.01"].map(str::to_owned);
    let config = Config::resolve(&Source::named("smoke"), &sets).unwrap();
    let out = place.path().join("out");
    let held = RunDir::create(&out, &config.build(&TaskRegistry::builtin()).unwrap()).unwrap();
    let _lock = held.lock().unwrap();
    let programs = tempfile::tempdir().unwrap();
    stand_in(programs.path(), "sbatch", "echo \"$(wc -l < $(dirname $0)/calls);cluster\"");
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let submit = |more: &[&str]| {
        let all = with(&words, &[&["--slurm", "--submit", "--array-limit", "3"], more].concat());
        emergence(&all).env("PATH", &path).output().unwrap()
    };
    // A task is one run, whatever becomes of the others.
    for option in [&["--jobs", "2"][..], &["--fail-fast"], &["--max-runs", "1"]] {
        let refused = submit(option);
        assert!(refused.status.code() == Some(2) && stderr(&refused).contains(option[0]), "{}", stderr(&refused));
    }
    let output = submit(&["--sbatch=--time=00:10:00"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("2 of 4 runs are to be done"), "{}", stderr(&output));
    let calls = std::fs::read_to_string(programs.path().join("calls")).unwrap();
    let scripts = out.join("slurm");
    let script = |name: &str| scripts.join(name).display().to_string();
    let expected = [
        format!("sbatch --parsable {}", script("array-0.sh")),
        format!("sbatch --parsable {}", script("array-1.sh")),
        format!("sbatch --parsable --dependency=afterany:1:2 {}", script("collect.sh")),
    ];
    assert_eq!(calls.lines().collect::<Vec<_>>(), expected);
    let array = std::fs::read_to_string(scripts.join("array-0.sh")).unwrap();
    assert!(array.contains("#SBATCH --array=2\n") && array.contains("#SBATCH --time=00:10:00\n"), "{array}");
    // What the scheduler refuses, and what another wrote in that place.
    stand_in(programs.path(), "sbatch", "echo no such partition >&2; exit 1");
    let refused = submit(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("no such partition"), "{}", stderr(&refused));
    write(scripts.join("array-0.sh"), "mine").unwrap();
    let occupied = submit(&[]);
    assert_eq!(occupied.status.code(), Some(2));
    assert!(stderr(&occupied).contains("array-0.sh would be written over"), "{}", stderr(&occupied));
    // What is forced here is forced in every task.
    submit(&["--force"]);
    let array = std::fs::read_to_string(scripts.join("array-0.sh")).unwrap();
    assert!(array.contains(" --force"), "{array}");
}

#[test]
fn a_task_that_is_warned_asks_to_be_queued_again_and_no_other() {
    let (place, words) = place();
    succeed(&with(&words, &["--slurm"]));
    let programs = tempfile::tempdir().unwrap();
    stand_in(programs.path(), "scontrol", "");
    let run = |srun: &str| {
        stand_in(programs.path(), "srun", srun);
        let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
        let mut task = std::process::Command::new("sh");
        task.arg(place.path().join("out/slurm/array-0.sh")).env("PATH", path);
        let names = [("SLURM_ARRAY_JOB_ID", "70"), ("SLURM_ARRAY_TASK_ID", "3"), ("SLURM_JOB_ID", "70")];
        // `srun` does not look at this itself.
        task.env("SLURM_CPUS_PER_TASK", "8");
        task.envs(names).status().unwrap().code()
    };
    for (code, calls) in [(0, 1), (1, 2), (130, 4)] {
        assert_eq!(run(&format!("[ \"$SRUN_CPUS_PER_TASK\" = 8 ] && exit {code}; exit 9")), Some(code));
        let text = std::fs::read_to_string(programs.path().join("calls")).unwrap();
        assert_eq!(text.lines().count(), calls, "{text}");
    }
    let text = std::fs::read_to_string(programs.path().join("calls")).unwrap();
    assert!(text.ends_with("scontrol requeue 70_3\n") && text.contains("--index 3\n"), "{text}");
}
