//! Tasks whose prompts are made elsewhere: in a file of NumPy's arrays, or by another program.

use std::fs;
use std::path::{Path, PathBuf};

use data::{Prompt, Purpose, Sampler, Stream, TaskRegistry};
use record::{Npz, Output};
use run::{Config, Source};

use crate::program::{check, emergence, files, only_run, stderr, succeed};

const TASK: &str = "extends = \"smoke\"\nname = \"mine\"\n[task]\n";

/// Fails unless two runs have the same weights, the same losses, and the same states by their CD.
fn assert_trained_alike(ours: &Path, theirs: &Path) {
    for file in ["training.csv", "cd.csv", "checkpoints/00000040/model.safetensors"] {
        let [ours, theirs] = [ours, theirs].map(|run| fs::read(run.join(file)).unwrap());
        assert!(ours == theirs, "{file}");
    }
}

fn trained(config: &str, out: &Path, more: &[&str]) -> PathBuf {
    succeed(&[&["train", config, "--quiet", "--out", out.to_str().unwrap()], more].concat());
    only_run(out)
}

/// A configuration whose prompts are drawn by this program, started by a shell in which `wrapped` stands for it.
fn process(place: &Path, wrapped: &str) -> String {
    let generate = wrapped.replace("GENERATE", &format!("{} generate smoke", env!("CARGO_BIN_EXE_emergence")));
    fs::write(place.join("generator.sh"), generate).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("{TASK}kind = \"process\"\ncommand = [\"sh\", \"generator.sh\"]\nversion = \"{version}\"\n");
    let path = place.join("mine.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn prompts_of_another_program_are_trained_on_and_measured_as_our_own() {
    let [place, ours, theirs] = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
    let config = process(place.path(), "exec GENERATE");
    let run = trained(&config, theirs.path(), &["--allow-process"]);
    assert_trained_alike(&run, &trained("smoke", ours.path(), &[]));
    // What only reads tables starts nothing; what measures does, and needs to be allowed to.
    let name = run.to_str().unwrap();
    succeed(&["report", name]);
    check(&["patch", name], 2, &["starts the program `sh generator.sh`", "--allow-process"]);
    succeed(&["patch", name, "--allow-process"]);
}

#[test]
fn a_program_that_draws_others_than_before_has_another_version() {
    let [place, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let config = process(place.path(), "exec GENERATE");
    let run = trained(&config, out.path(), &["--allow-process", "--set", "train.steps=4"]);
    let before = files(out.path());
    process(place.path(), "exec GENERATE --set task.w_std=2.0");
    let words = ["config.toml", "draws other prompts than when the run was made", "task.version"];
    for command in ["resume", "cd"] {
        check(&[command, run.to_str().unwrap(), "--allow-process"], 2, &words);
    }
    let train = ["train", &config, "--quiet", "--allow-process", "--set", "train.steps=4", "--out"];
    check(&[&train[..], &[out.path().to_str().unwrap()]].concat(), 2, &words);
    assert!(files(out.path()) == before);
}

#[test]
fn a_strangers_configuration_starts_no_program() {
    let [place, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let config = process(place.path(), "touch started; exec GENERATE");
    let runs = out.path().join("runs");
    for command in ["train", "sweep"] {
        check(&[command, &config, "--out", runs.to_str().unwrap()], 2, &["sh generator.sh", "--allow-process"]);
    }
    assert!(!runs.exists() && !place.path().join("started").exists());
}

#[test]
fn a_program_that_fails_is_named_and_the_run_goes_on_when_it_is_mended() {
    let [place, ours, theirs] = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
    // It draws the batches of twenty steps, and ends.
    let config = process(place.path(), "sed -u '/sample 0 train 320 /q' | GENERATE");
    let out = theirs.path().to_str().unwrap();
    let train = ["train", &config, "--quiet", "--allow-process", "--out", out];
    check(&train, 1, &["`sh generator.sh` ended with", "when it was asked for `sample 0 train 336 16 -1`"]);
    check(&["bench", &config, "--allow-process"], 1, &["error: task.command: `sh generator.sh` ended with"]);
    process(place.path(), "exec GENERATE");
    let run = trained(&config, theirs.path(), &["--allow-process"]);
    assert_trained_alike(&run, &trained("smoke", ours.path(), &[]));
}

#[test]
fn a_program_that_is_no_generator_is_refused_before_anything_is_made() {
    let [place, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let runs = out.path().join("runs");
    let version = env!("CARGO_PKG_VERSION");
    for (script, words) in [
        ("exec cat", &["`sh generator.sh`", "must answer `shape` with n_points and d_x"][..]),
        ("exit 3", &["`sh generator.sh` ended with exit status: 3 when it was asked for `version`"]),
        (
            "GENERATE | sed -u 1s/.*/2/",
            &["`sh generator.sh` must answer `version` with task.version", version, "but says \"2\""],
        ),
        // Every process draws other prompts.
        ("exec GENERATE --set task.w_std=$$", &["must draw the same prompt at the same address"]),
        // The same prompts again, whatever is asked for.
        ("sed -u 's/sample 0 \\([a-z]*\\) 5/sample 0 \\1 0/' | GENERATE", &["must draw the same prompt"]),
    ] {
        let config = process(place.path(), script);
        check(&["train", &config, "--allow-process", "--out", runs.to_str().unwrap()], 2, words);
    }
    let missing = process(place.path(), "").replace("mine.toml", "missing.toml");
    let text = format!("{TASK}kind = \"process\"\ncommand = [\"no-such-program\"]\nversion = \"1\"\n");
    fs::write(&missing, text).unwrap();
    check(&["train", &missing, "--allow-process"], 2, &["`no-such-program` could not be started in"]);
    assert!(!runs.exists());
}

/// The prompts that the smoke preset evaluates, probes, patches with and trains on, in this order, as arrays.
pub(crate) fn arrays_of_smoke(place: &Path, changed: impl Fn(&mut Prompt)) -> PathBuf {
    let config = Config::resolve(&Source::named("smoke"), &[]).unwrap();
    let task = config.build(&TaskRegistry::builtin()).unwrap().study.task.pairs().clone();
    let sampler = |purpose| Sampler::new(task.clone(), Stream::new(0, purpose));
    let mut prompts = sampler(Purpose::Eval).balanced(0, 20).unwrap();
    prompts.extend((0..4).flat_map(|resample| sampler(Purpose::Probe).balanced(resample, 12).unwrap()));
    prompts.extend(sampler(Purpose::Patch).balanced(0, 100).unwrap());
    prompts.extend(sampler(Purpose::Train).prompts(0..41 * 16).unwrap());
    prompts.iter_mut().for_each(changed);
    let (n, output) = (prompts.len(), Output { mark: "arrays", force: true });
    Npz::write(&place.join("prompts.npz"), output, |npz| {
        npz.array("xs", &[n, 6, 4], prompts.iter().flat_map(|prompt| prompt.xs.clone()))?;
        npz.array("ys", &[n, 6], prompts.iter().flat_map(|prompt| prompt.ys.clone()))?;
        npz.array("concept", &[n], prompts.iter().map(|prompt| prompt.concept.0 as i64))
    })
    .unwrap();
    let path = place.join("mine.toml");
    fs::write(&path, format!("{TASK}kind = \"arrays\"\nfile = \"prompts.npz\"\n")).unwrap();
    path
}

fn arrays(place: &Path, changed: impl Fn(&mut Prompt)) -> String {
    arrays_of_smoke(place, changed).to_str().unwrap().to_owned()
}

#[test]
fn prompts_of_a_file_are_trained_on_and_measured_as_if_they_were_drawn() {
    let [place, ours, theirs] = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
    let config = arrays(place.path(), |_| {});
    let run = trained(&config, theirs.path(), &[]);
    let drawn = trained("smoke", ours.path(), &[]);
    for file in ["training.csv", "checkpoints/00000040/model.safetensors"] {
        let [ours, theirs] = [&run, &drawn].map(|run| fs::read(run.join(file)).unwrap());
        assert!(ours == theirs, "{file}");
    }
    // Concepts have other names.
    let cd =
        fs::read_to_string(run.join("cd.csv")).unwrap().replace("C1", "\"B1 (0,1)\"").replace("C2", "\"B2 (2,3)\"");
    assert_eq!(cd, fs::read_to_string(drawn.join("cd.csv")).unwrap());
    let name = run.to_str().unwrap();
    succeed(&["patch", name]);
    // Twice as many prompts as the run probes, which it does not have, are left out.
    succeed(&["sensitivity", name]);
    for command in [&["patch", name][..], &["export", name, "--what", "prompts"]] {
        let more = [command, &["--mean-prompts", "101"]].concat();
        check(&more, 2, &["--mean-prompts must be at most", "prompts there are of C1 (100), but is 101"]);
    }
    let more = ["remeasure", name, "--set", "probe.resamples=5"];
    check(&more, 2, &["probe.prompts_per_concept times probe.resamples", "48", "60"]);
}

#[test]
fn a_file_that_was_moved_is_found_where_the_configuration_says_it_is_now() {
    let [place, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let run = trained(&arrays(place.path(), |_| {}), out.path(), &["--set", "train.steps=8"]);
    let moved = place.path().join("moved.npz");
    fs::rename(place.path().join("prompts.npz"), &moved).unwrap();
    let cd = ["cd", run.to_str().unwrap()];
    check(&cd, 2, &["prompts.npz cannot be read", "if it was moved, correct task.file"]);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    fs::write(run.join("config.toml"), config.replace("prompts.npz", "moved.npz")).unwrap();
    succeed(&cd);
    // It must be the same file.
    fs::write(&moved, "other").unwrap();
    check(&cd, 2, &["task.file", "must have the SHA-256"]);
}

#[test]
fn a_file_that_was_changed_is_another_task() {
    let [place, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let config = arrays(place.path(), |_| {});
    let run = trained(&config, out.path(), &["--set", "train.steps=8"]);
    arrays(place.path(), |prompt| prompt.ys[0] += 1.0);
    check(&["cd", run.to_str().unwrap()], 2, &["task.file", "prompts.npz must have the SHA-256", "but has"]);
    let train = ["train", &config, "--quiet", "--set", "train.steps=8", "--out", out.path().to_str().unwrap()];
    succeed(&train);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2, "a run of its own");
}

#[test]
fn a_file_that_does_not_fit_makes_no_run() {
    let [place, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let runs = out.path().join("runs");
    let config = arrays(place.path(), |_| {});
    let refused = |sets: &[&str], words: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let command = ["train", &config, "--out", runs.to_str().unwrap()].into_iter().chain(sets);
        check(&command.collect::<Vec<_>>(), 2, words);
    };
    refused(&["eval.prompts_per_concept=1000"], &["task.division", "below the number of prompts of the concept C1"]);
    refused(&["task.file=missing.npz"], &["task.file", "missing.npz cannot be read"]);
    refused(&["task.d_x=5"], &["unknown field `d_x`"]);
    arrays(place.path(), |prompt| prompt.xs[3] = f32::INFINITY);
    refused(&[], &["has a value in xs[0] that is not between -1e15 and 1e15"]);
    fs::write(place.path().join("prompts.npz"), "none").unwrap();
    refused(&[], &["prompts.npz is no .npz archive"]);
    assert!(!runs.exists());
}

/// A reader of the protocol can see what is said.
#[test]
fn a_request_that_is_none_ends_the_answers() {
    for request in
        ["sample 0 train 0 1 2", "sample 0 train 0 99999999999999999 -1", "sample 0 train 18446744073709551615 1 0"]
    {
        let mut child = emergence(&["generate", "smoke"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let text = format!("shape\n{request}\n");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b"6 4\n"[..]));
        let words = format!("CONCEPT from -1 to 1, but is {request:?}");
        assert!(stderr(&output).contains(&words), "{}", stderr(&output));
    }
}
