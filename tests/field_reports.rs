//! What users of such programs report, a short case each, named by what they saw.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::lm::{FEW, corpus, golden};
use crate::program::{
    asking_signals, check, emergence, emergence_within, files, kill, notes_of, only_run, smoke_run, stderr, succeed,
    write_files,
};

/// Changes the last byte of a file, and gives back what it held.
fn flip_last_byte(path: &Path) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    before
}

#[test]
fn half_of_my_tables_were_of_the_model_before_i_replaced_its_weights() {
    let place = tempfile::tempdir().unwrap();
    let [model, brown, out] = ["model", "brown", "runs"].map(|name| place.path().join(name));
    write_files(&files(&golden("smollm2")), &model);
    corpus(&brown);
    let set = format!("task.corpus={}", brown.display());
    let (folder, root) = (model.to_str().unwrap(), out.to_str().unwrap());
    let mut measure = vec!["lm", "measure", "part-of-speech", "--model", folder, "--out", root, "--set", &set];
    measure.extend(FEW);
    succeed(&measure);
    let run = only_run(&out);
    let accuracy = ["lm", "accuracy", run.to_str().unwrap()];
    let before = files(&run);
    let weights = model.join("model.safetensors");
    for changed in [&weights, &brown] {
        let whole = flip_last_byte(changed);
        let words = [if *changed == brown { "brown" } else { folder }, "its SHA-256 must be", "another name"];
        check(&accuracy, 2, &words);
        check(&measure, 2, &words);
        assert!(files(&run) == before);
        fs::write(changed, whole).unwrap();
    }
    succeed(&accuracy);
}

#[test]
fn my_comparison_was_gone_after_i_edited_the_file_of_the_sweep() {
    let place = tempfile::tempdir().unwrap();
    let [file, out] = ["mine.toml", "runs"].map(|name| place.path().join(name));
    let write = |noises: &str| {
        let text = format!(
            "extends = \"smoke\"\nname = \"mine\"\n[train]\nsteps = 4\n[grid]\ntask.noise_variance = {noises}\n"
        );
        fs::write(&file, text).unwrap();
    };
    let sweep = ["sweep", file.to_str().unwrap(), "--quiet", "--out", out.to_str().unwrap()];
    write("[0.01]");
    succeed(&sweep);
    write("[0.01, 0.5]");
    succeed(&sweep);
    let before = files(&out);
    write("[0.02, 0.5]");
    check(
        &sweep,
        2,
        &["compared.toml", "1 of them are not", "grid.task.noise_variance must be [0.01, 0.5], but is [0.02, 0.5]"],
    );
    assert!(files(&out) == before);
    succeed(&[&sweep[..], &["--force"]].concat());
}

/// The smoke preset with two steps, and probes that take longer at its checkpoints than a program that is asked to leave may
/// take to end by itself.
const SLOW_TO_MEASURE: [&str; 8] = [
    "smoke",
    "--quiet",
    "--set",
    "train.steps=2",
    "--set",
    "probe.resamples=1000",
    "--set",
    "probe.prompts_per_concept=18",
];

/// Starts a command, sends it a signal once `reached` says so, and returns what it said. It must leave with exit code 130
/// within two seconds, and one more for a loaded machine.
fn leaves_soon(args: &[&str], signal: &str, reached: impl Fn() -> bool) -> String {
    let mut child = emergence(args).spawn().unwrap();
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "{args:?}");
        sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    kill(signal, &child);
    let output = child.wait_with_output().unwrap();
    let took = asked.elapsed();
    assert_eq!(output.status.code(), Some(130), "{args:?}, {signal}: {}", stderr(&output));
    assert!(took < Duration::from_secs(3), "{args:?}, {signal}: {took:?}");
    stderr(&output)
}

#[test]
fn my_job_was_killed_since_it_did_not_leave_in_time() {
    let place = tempfile::tempdir().unwrap();
    let [whole, out] = ["whole", "runs"].map(|name| place.path().join(name));
    let [train_whole, train] =
        [&whole, &out].map(|out| [&["train"], &SLOW_TO_MEASURE[..], &["--out", out.to_str().unwrap()]].concat());
    succeed(&train_whole);
    let Some(signal) = asking_signals().pop() else { return };
    // While the second checkpoint is measured.
    let measuring = || only(&out).is_some_and(|run| run.join("checkpoints/00000001.unmeasured").exists());
    let said = leaves_soon(&train, signal, measuring);
    assert!(said.contains("the last checkpoint is saved; go on with"), "{said}");
    let run = only_run(&out);
    assert!(!run.join("run.lock").exists());
    // While its measurement is made again.
    let resume = ["resume", run.to_str().unwrap(), "--quiet"];
    leaves_soon(&resume, signal, || run.join("run.lock").exists());
    succeed(&resume);
    for (name, bytes) in files(&only_run(&whole)) {
        let is_result = name.extension().is_some_and(|kind| kind == "csv" || kind == "safetensors");
        assert!(!is_result || fs::read(run.join(&name)).unwrap() == bytes, "{}", name.display());
    }
    assert_eq!(fs::read_dir(run.join("checkpoints")).unwrap().count(), 3);

    // A command that measures leaves the table of before.
    let before = fs::read(run.join("cd.csv")).unwrap();
    let said = leaves_soon(&["cd", run.to_str().unwrap()], signal, || run.join("run.lock").exists());
    assert!(said.contains("as they were, and the same command goes on"), "{said}");
    assert!(fs::read(run.join("cd.csv")).unwrap() == before && !run.join("run.lock").exists());

    // One that measures all anew says what it left undone.
    let [baselines, decodability] = ["baselines.csv", "cd.csv"].map(|table| run.join(table));
    let remeasure = ["remeasure", run.to_str().unwrap(), "--set", "probe.ridge=2.0"];
    leaves_soon(&remeasure, signal, || baselines.exists() && !decodability.exists());
    assert!(succeed(&["report", run.to_str().unwrap()]).contains("cd.csv is missing; the command cd makes it again"));
}

/// The run under `root`, if it was begun.
fn only(root: &Path) -> Option<PathBuf> {
    let run = fs::read_dir(root).ok()?.next()?.ok()?.path();
    run.join("config.toml").exists().then_some(run)
}

#[test]
fn my_job_was_killed_before_its_first_step() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("runs");
    let train = ["train", "smoke", "--quiet", "--set", "model.d_model=2048", "--set", "eval.prompts_per_concept=20000"];
    // All signals are one path, which the tests of resuming take with each of them.
    let Some(signal) = asking_signals().pop() else { return };
    let command = [&train[..], &["--out", out.to_str().unwrap()]].concat();
    leaves_soon(&command, signal, || only(&out).is_some_and(|run| run.join("run.lock").exists()));
}

#[test]
#[cfg(target_os = "linux")]
fn the_kernel_killed_my_run_without_a_word() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("runs");
    let too_many = ["smoke", "--set", "train.batch_size=65536", "--set", "task.n_points=4096"];
    check(&[&["bench"], &too_many[..]].concat(), 2, &["memory", "train.batch_size = ", "would fit"]);
    check(&[&["train"], &too_many[..], &["--out", out.to_str().unwrap()]].concat(), 2, &["memory", "would fit"]);
    let too_large = ["smoke", "--set", "model.d_model=8192", "--set", "model.n_layers=128"];
    let words = ["memory", "model.d_model = 8192", "at most", "flex", "a smaller model would fit"];
    check(&[&["sweep"], &too_large[..], &["--out", out.to_str().unwrap()]].concat(), 2, &words);
    assert!(!out.exists());

    // A run that was made on a larger machine, or with fewer prompts.
    let wide = ["train", "smoke", "--quiet", "--set", "train.steps=1", "--set", "model.d_model=256"];
    succeed(&[&wide[..], &["--out", out.to_str().unwrap()]].concat());
    let run = only_run(&out);
    let before = files(&run);
    let more = ["remeasure", run.to_str().unwrap(), "--set", "probe.prompts_per_concept=10000"];
    check(&[&more[..], &["--threads", "1024"]].concat(), 2, &["memory", "probe.prompts_per_concept = ", "would fit"]);
    assert!(files(&run) == before);
}

#[test]
fn i_could_not_look_at_a_run_that_lies_in_an_archive_or_is_still_training() {
    let (_root, run) = smoke_run();
    let name = run.to_str().unwrap();
    let summary = succeed(&["report", name]);
    let before = files(&run);
    // No file can be written, not even a lock, as on a disk that is mounted to be read.
    let limited = emergence_within("trap '' XFSZ; ulimit -f 0", &["report", name]).output().unwrap();
    assert!(limited.status.success(), "{}", stderr(&limited));
    assert!(stderr(&limited).contains("are as they were: could not lock"), "{}", stderr(&limited));
    assert!(String::from_utf8_lossy(&limited.stdout) == summary && files(&run) == before);

    let run = record::Folder::at(&run);
    let lock = run.lock().unwrap();
    assert!(notes_of(&["report", name]).contains("are as they were: ") && succeed(&["report", name]) == summary);
    drop(lock);
}
