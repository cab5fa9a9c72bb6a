//! A run stopped anywhere goes on to the same bits, whatever the thread count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use analysis::{MetricRow, Shown};
use burn_flex::Flex;
use data::{Legend, Purpose, Stream, TaskRegistry};
use model::Device;
use probe::Subject;
use rand::RngExt;
use run::{Config, Experiment, RunDir, RunError, Source};
use trainer::{
    CheckpointObserver, Headline, LiveMeasurements, Observers, Outcome, Parallelism, Stop, TrainError, TrainingTable,
    train,
};

use crate::program::{
    asking_signals, check, emergence, emergence_within, files, kill, notes_of, only_run, smoke_run, stderr, succeed,
    wait_for_rows, write_files,
};

const MUON: &str = "train.muon={momentum=0.95}";

/// What training writes and must be the same: tables and the final weights and moments.
fn trained(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let last = run.join("checkpoints/00000040");
    let weights = ["model", "moment_1", "moment_2"].map(|name| last.join(format!("{name}.safetensors")));
    let tables = ["training.csv", "metrics.csv", "cd.csv", "cd_best.csv"].map(|name| run.join(name));
    contents(tables.into_iter().chain(weights))
}

/// That, and the tables of what is computed once.
fn fingerprint(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let once = contents(["baselines.csv", "map.csv"].map(|name| run.join(name)));
    trained(run).into_iter().chain(once).collect()
}

fn contents(files: impl IntoIterator<Item = PathBuf>) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.into_iter().map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

fn assert_same(found: &Path, expected: &Path, how: &str) {
    let expected = fingerprint(expected);
    for (name, bytes) in fingerprint(found) {
        assert!(bytes == expected[&name], "{name} differs after {how}");
    }
}

/// A whole run of the smoke preset, never stopped.
fn uninterrupted(root: &Path, more: &[&str]) -> PathBuf {
    let out = root.to_str().unwrap();
    succeed(&[&["train", "smoke", "--quiet", "--out", out], more].concat());
    only_run(root)
}

#[test]
fn a_run_that_is_lengthened_is_the_longer_one() {
    let [longer, whole] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    // With a history of both optimizers.
    let schedule = ["--set", "train.schedule={kind=\"cosine\", warm_up=5, until=30, floor=0.1}", "--set", MUON];
    let short = [&schedule[..], &["--set", "train.steps=20"]].concat();
    let run = uninterrupted(longer.path(), &short);
    let expected = uninterrupted(whole.path(), &schedule);
    let path = run.to_str().unwrap();
    check(&["resume", path, "--steps", "20"], 2, &["train.steps must be more than 20", "but is 20"]);
    check(&["resume", path, "--steps", "100000000"], 2, &["train.steps must be", "100000000"]);
    let said = notes_of(&["resume", path, "--steps", "40"]);
    assert!(said.contains("trains to step 40 instead of 20"), "{said}");
    assert!(said.contains("goes from 4.109e-4 to 1.000e-4"), "{said}");
    assert_same(&run, &expected, "being lengthened");
    // Both configurations find it, and nothing is left to do.
    let before = files(longer.path());
    for sets in [&short[..], &schedule] {
        assert_eq!(uninterrupted(longer.path(), sets), run);
    }
    assert!(files(longer.path()) == before);
    // It was lengthened while the disk failed behind its configuration, or came without its seal.
    std::fs::remove_file(run.join("seal.toml")).unwrap();
    succeed(&["resume", path, "--quiet"]);
    assert!(files(longer.path()) == before);
    check(&["resume", path, "--steps", "50", "--anew"], 2, &["--steps", "cannot be used with", "--anew"]);
}

#[test]
fn the_thread_count_changes_nothing() {
    for more in [&[][..], &["--set", MUON]] {
        let [one, two, three] = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
        let with = |threads| [&["--threads", threads][..], more].concat();
        let single = uninterrupted(one.path(), &with("1"));
        for (folder, threads) in [(two, "2"), (three, "3")] {
            assert_same(
                &uninterrupted(folder.path(), &with(threads)),
                &single,
                &format!("{threads} threads, {more:?}"),
            );
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let ((_root, whole), stopped) = (smoke_run(), tempfile::tempdir().unwrap());
    let out = stopped.path().to_str().unwrap();
    for signal in asking_signals() {
        let child = emergence(&["train", "smoke", "--quiet", "--out", out]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60));
        // The process may be done already, or not have its handler yet; both end in a run that goes on.
        kill(signal, &child);
        child.wait_with_output().unwrap();
    }
    succeed(&["train", "smoke", "--quiet", "--out", out]);
    assert_same(&only_run(stopped.path()), &whole, "interruptions");
}

#[test]
fn a_signal_ends_in_a_checkpoint_and_a_word_on_how_to_go_on() {
    for signal in asking_signals() {
        let root = tempfile::tempdir().unwrap();
        let endless = ["--set", "train.steps=1000000", "--set", "checkpoints.every=1000000"];
        let out = ["train", "smoke", "--quiet", "--out", root.path().to_str().unwrap()];
        let child = emergence(&[&out[..], &endless].concat()).spawn().unwrap();
        wait_for_rows(root.path());
        kill(signal, &child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let run = RunDir::open(&only_run(root.path())).unwrap();
        let saved = *run.steps().unwrap().last().unwrap();
        let message = format!("interrupted after step {saved}, everything is saved; go on with: emergence resume ");
        assert!(stderr(&output).contains(&message), "{}", stderr(&output));
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let root = tempfile::tempdir().unwrap();
    let endless = ["--set", "train.steps=1000000", "--set", "checkpoints.every=1000000"];
    let train = ["train", "smoke", "--quiet", "--out", root.path().to_str().unwrap()];
    // What `nohup` does.
    let mut child = emergence_within("trap '' HUP", &[&train[..], &endless].concat()).spawn().unwrap();
    wait_for_rows(root.path());
    kill("-HUP", &child);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it goes on");
    kill("-USR1", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn twenty_kills_at_random_moments_change_nothing() {
    let ((_root, whole), killed) = (smoke_run(), tempfile::tempdir().unwrap());
    let out = killed.path().to_str().unwrap();
    let mut rng = Stream::new(20, Purpose::Shuffle).rng(0);
    for _ in 0..20 {
        let mut child = emergence(&["train", "smoke", "--quiet", "--out", out]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(rng.random_range(5..250)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    succeed(&["train", "smoke", "--quiet", "--out", out]);
    assert_same(&only_run(killed.path()), &whole, "twenty SIGKILLs");
}

#[test]
fn a_kill_after_any_checkpoint_is_made_good() {
    let [whole, cut] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let keep_all = ["--set", "checkpoints.full=100"];
    let whole = uninterrupted(whole.path(), &keep_all);
    let cut = cut.path().join(whole.file_name().unwrap());
    write_files(&files(&whole), &cut);
    for step in [20, 8, 1, 0] {
        // What a kill just before a later checkpoint leaves: later rows, none of the later checkpoints.
        for entry in std::fs::read_dir(cut.join("checkpoints")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().parse::<usize>().is_ok_and(|saved| saved > step) {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        let table = cut.join("metrics.csv");
        // In the middle of a letter of two bytes, which a concept's name may have.
        let torn = [std::fs::read(&table).unwrap(), b"40,eval,\"B1 \xc3".to_vec()].concat();
        std::fs::write(&table, torn).unwrap();
        succeed(&["resume", cut.to_str().unwrap(), "--quiet"]);
        assert_same(&cut, &whole, &format!("a cut after step {step}"));
    }
}

#[test]
fn where_a_run_was_made_is_noted_by_whoever_trains_it() {
    let root = tempfile::tempdir().unwrap();
    let run = uninterrupted(root.path(), &["--threads", "1", "--set", "checkpoints.full=100"]);
    let noted = || RunDir::open(&run).unwrap().environment().unwrap();
    let resume = |threads| succeed(&["resume", run.to_str().unwrap(), "--quiet", "--threads", threads]);
    let made = noted();
    assert_eq!((made.device.as_str(), made.products.as_deref(), made.threads), ("flex", Some("f32"), 1));
    resume("3");
    assert_eq!(noted(), made, "nothing was left to train");
    std::fs::remove_dir_all(run.join("checkpoints/00000040")).unwrap();
    resume("3");
    assert_eq!(noted().threads, 3);
}

/// Trains the smoke preset on the CPU as it is done on a GPU, or not.
fn train_in(root: &Path, measures_beside: bool, and: Option<FailsAt>) -> (RunDir, Result<Outcome, TrainError>) {
    let experiment: Experiment =
        Config::resolve(&Source::named("smoke"), &[]).unwrap().build(&TaskRegistry::builtin()).unwrap();
    let (run, device) = (RunDir::create(root, &experiment).unwrap(), Default::default());
    let legend = Legend::of(experiment.study.task.pairs().as_ref());
    let shown = Shown { folder: run.folder(), legend: &legend };
    let live = LiveMeasurements { study: &experiment.study, shown, headline: Headline::default() };
    let mut observers =
        Observers { steps: vec![Box::new(TrainingTable { run: &run })], checkpoints: vec![Box::new(live)] };
    observers.checkpoints.extend(and.map(|fails| Box::new(fails) as _));
    let parallelism = Parallelism { measures_beside, ..Parallelism::on(Device::Flex, &experiment) };
    let stop = Stop::new();
    let outcome = train::<Flex>(&run, &experiment, parallelism, &device, observers, &stop);
    (run, outcome)
}

struct FailsAt(usize);

impl CheckpointObserver for FailsAt {
    fn on_checkpoint(&mut self, step: usize, _subject: &dyn Subject) -> Result<(), TrainError> {
        match step < self.0 {
            true => Ok(()),
            false => Err(RunError::NotARun { path: PathBuf::new(), missing: "the disk", around: None }.into()),
        }
    }
}

#[test]
fn measuring_beside_the_training_changes_nothing() {
    let ((_root, waiting), beside) = (smoke_run(), tempfile::tempdir().unwrap());
    let expected = trained(&waiting);
    let (run, outcome) = train_in(beside.path(), true, None);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    for (name, bytes) in trained(run.path()) {
        assert!(bytes == expected[&name], "{name} differs where training goes on");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_measured_does_not_count_and_ends_the_training() {
    for measures_beside in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let (run, outcome) = train_in(root.path(), measures_beside, Some(FailsAt(8)));
        assert!(matches!(outcome, Err(TrainError::Run(RunError::NotARun { .. }))));
        assert_eq!(run.steps().unwrap(), [0, 1, 2, 4]);
    }
}

#[test]
fn a_second_process_on_the_same_run_is_refused() {
    let (_root, run) = smoke_run();
    let run = RunDir::open(&run).unwrap();
    let _lock = run.lock().unwrap();
    let output = emergence(&["resume", run.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = format!("in use by another process: process {} on", std::process::id());
    assert!(stderr(&output).contains(&words), "{}", stderr(&output));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint() {
    // Both at a step that is saved; with one step the loss of the last weights is that of no step that is taken.
    for steps in ["train.steps=40", "train.steps=1"] {
        let root = tempfile::tempdir().unwrap();
        let sets = ["--set", "train.learning_rate=1e30", "--set", steps];
        let out = ["train", "smoke", "--quiet", "--out", root.path().to_str().unwrap()];
        let output = emergence(&[&out[..], &sets].concat()).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("the loss is not finite after step 1 (loss NaN"), "{message}");
        assert!(message.contains("the last good checkpoint is 0"), "{message}");
        let run = RunDir::open(&only_run(root.path())).unwrap();
        assert_eq!(run.steps().unwrap(), [0]);
        let rows = run.table::<MetricRow>().read().unwrap();
        assert!(rows.iter().all(|row| row.step == 0 && row.mse.is_finite()));
    }
}
