//! Whichever change to the disk fails, and in whatever way: the message names the file, nothing that was complete is
//! lost, and going on gives the bytes of work in which nothing failed.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use analysis::{
    ALL, Accuracy, CliError, Decodability, Entry, Needs, StatesExport, compared, measure_now, report_run, scalars,
    write_comparison, write_prompts, write_scalars,
};
use clap::Parser;
use data::{Legend, TaskRegistry};
use model::{Device, Free};
use pretrained::{LmConfig, LmRun, Series};
use probe::{ProbeKind, Subjects};
use record::Folder;
use record::faults::{DiskChange, Fault, Watch};
use run::{Checkpoints, Config, Experiment, FinetuneConfig, RunDir, Runs, Source};
use terminal::Failure;
use trainer::{Stop, complete};

use crate::lm::{FEW, golden};
use crate::program::{Files, files, write_files};

/// Four steps of the smallest model that all is measured of.
const SMALLEST: [&str; 15] = [
    "train.steps=4",
    "train.log_every=2",
    "checkpoints.every=2",
    "task.n_points=3",
    "model.d_model=4",
    "model.n_layers=1",
    "model.n_heads=1",
    "eval.prompts_per_concept=2",
    "probe.probes=[\"knn\"]",
    "probe.tokens=[\"query_x\"]",
    "probe.neighbours=2",
    "probe.folds=2",
    "probe.resamples=2",
    "probe.prompts_per_concept=5",
    "train.batch_size=4",
];

/// Which of the faults that a change can meet are tried, by the change's number.
type Choice = fn(usize, Vec<Fault>) -> Vec<Fault>;

/// All of them.
const EVERY: Choice = |_, faults| faults;

/// One of them, another one at the next change.
const IN_TURN: Choice = |number, faults| vec![faults[number % faults.len()]];

/// The faults that a change can meet.
fn faults_of(change: &DiskChange) -> Vec<Fault> {
    let can_be = |fault: &Fault| match fault {
        Fault::Error | Fault::Cut => true,
        Fault::Short => change.what == "write",
        Fault::Full => change.grows(),
    };
    [Fault::Error, Fault::Short, Fault::Full, Fault::Cut].into_iter().filter(can_be).collect()
}

/// Lets every change that `work` makes in a folder with the files `before` meet the faults that `chosen` chooses, and goes
/// on each time. Says how many were tried, and what was lost.
fn try_faults(name: &str, before: &Files, chosen: Choice, work: impl Fn(&Path) -> Result<(), CliError>) {
    // The same place every time, since a report names it; in memory where the system has such a disk, since everything
    // here is flushed thousands of times.
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let place = root.path().join("place");
    refill(&place, before);
    let (outcome, changes) = watched(Watch::of(&place), || work(&place));
    outcome.unwrap();
    let expected = files(&place);
    let (mut tried, mut lost) = (BTreeMap::new(), Vec::new());
    for (number, change) in (1..).zip(&changes) {
        for fault in chosen(number, faults_of(change)) {
            refill(&place, before);
            let meets = || {
                let (outcome, met) = watched(Watch::with(&place, number, fault), || work(&place));
                check_message(outcome, &place, change)?;
                if fault == Fault::Cut {
                    lose_what_was_not_flushed(&met[..number]);
                }
                check_state(before, &files(&place), &expected)?;
                check_kept(&changes[..number - 1], &place, &expected)?;
                two_minutes_pass(&place);
                work(&place).map_err(|error| format!("going on fails: {error}"))?;
                take_locks(&place);
                check_same(&files(&place), &expected)
            };
            let met: Result<(), String> = meets();
            let inside = change.path.strip_prefix(&place).unwrap().display();
            lost.extend(met.err().map(|why| format!("{fault:?} at {number}, {} {inside}: {why}", change.what)));
            *tried.entry(fault).or_insert(0) += 1;
        }
    }
    eprintln!("faults: {name}: {} changes, tried {tried:?}, lost {}", changes.len(), lost.len());
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// What comes of work that is looked on at, and the changes that it asks for.
fn watched(watch: Watch, work: impl Fn() -> Result<(), CliError>) -> (Result<(), String>, Vec<DiskChange>) {
    let outcome = work().map_err(|error| match Failure::from(error) {
        Failure::Run(error) => format!("{error:#}"),
        other => panic!("a disk that fails is no {other:?}"),
    });
    (outcome, watch.changes())
}

fn ensure(holds: bool, otherwise: impl Fn() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Makes a folder one with these files and no others.
fn refill(folder: &Path, with: &Files) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir(folder).unwrap();
    write_files(with, folder);
}

/// Whether a change is one of a lock, whose names are random.
fn is_of_a_lock(change: &DiskChange) -> bool {
    change.path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("run.lock"))
}

/// The file that a change is about, without what it has behind its name until it is whole.
fn target(change: &DiskChange) -> PathBuf {
    let path = change.path.to_str().unwrap();
    PathBuf::from(path.strip_suffix(".partial").unwrap_or(path))
}

fn check_message(outcome: Result<(), String>, place: &Path, change: &DiskChange) -> Result<(), String> {
    let Err(message) = outcome else {
        // What is given back is no longer needed.
        return ensure(is_of_a_lock(change) && change.what == "remove", || "no error".to_owned());
    };
    let name = target(change).file_name().unwrap().to_str().unwrap().to_owned();
    let is_named = is_of_a_lock(change) || message.contains(&name);
    ensure(is_named && message.contains(place.to_str().unwrap()), || format!("is not named: {message}"))
}

/// Checks that what had its name before the fault still has it, if it has in the end.
fn check_kept(before: &[DiskChange], place: &Path, expected: &Files) -> Result<(), String> {
    let renamed = before.iter().filter(|change| change.what == "rename" && !is_of_a_lock(change));
    renamed.map(target).try_for_each(|path| {
        let inside = path.strip_prefix(place).unwrap();
        let stays = expected.keys().any(|name| name.starts_with(inside));
        ensure(!stays || path.exists(), || format!("{} is lost", inside.display()))
    })
}

/// Checks that every file is as it was or as it will be, a table as far as it is.
fn check_state(before: &Files, state: &Files, expected: &Files) -> Result<(), String> {
    for (name, bytes) in state.iter().filter(|(name, _)| !is_no_result(name)) {
        // What a checkpoint holds before it is measured is what it holds then.
        let in_the_end = PathBuf::from(name.to_str().unwrap().replace(".unmeasured", ""));
        let is = |other: &Files| other.get(&in_the_end).is_some_and(|other| other == bytes);
        let is_table = name.extension().is_some_and(|extension| extension == "csv");
        let lines = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let begins = || expected.get(name).is_some_and(|other| other.starts_with(&bytes[..lines]));
        let grows = name.ends_with("made.toml") || name.to_str().unwrap().contains("moment_");
        // Of a sweep the runs that did not fail are compared.
        let compares = name.components().count() == 1;
        let is_whole = is(before) || is(expected) || is_table && begins() || grows || compares;
        ensure(is_whole, || format!("{} is damaged", name.display()))?;
    }
    let mut both = before.keys().filter(|name| expected.contains_key(*name));
    both.try_for_each(|name| ensure(state.contains_key(name), || format!("{} is lost", name.display())))
}

/// Whether a file is none of the results: what has no name yet, what is kept until a table is whole, locks, and the note of
/// what failed.
fn is_no_result(name: &Path) -> bool {
    let name = name.to_str().unwrap();
    [".partial", "unfinished-", "run.lock", "failure.txt"].iter().any(|part| name.contains(part))
}

/// Cuts off what was added to tables since they were flushed: it may never have come to the disk.
fn lose_what_was_not_flushed(changes: &[DiskChange]) {
    let mut added: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let (met, before) = changes.split_last().unwrap();
    for change in before {
        match change.what {
            "write" => *added.entry(change.path.clone()).or_default() += change.bytes,
            "flush" | "remove" => drop(added.remove(&change.path)),
            "rename" => drop(added.remove(&target(change))),
            _ => {}
        }
    }
    if met.what == "write" {
        // Of what met the power cut, half was written.
        *added.entry(met.path.clone()).or_default() += met.bytes / 2;
    }
    for (path, bytes) in added {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes as u64).unwrap();
    }
}

/// Makes what lies around of locks old enough to be nobody's any more.
fn two_minutes_pass(folder: &Path) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        match path.file_name().unwrap().to_str().unwrap().starts_with("run.lock.") {
            true => {
                File::open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(130)).unwrap();
            }
            false => two_minutes_pass(&path),
        }
    }
}

/// A lock that could not be given back is free, and goes when it is taken the next time.
fn take_locks(folder: &Path) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        match path.file_name().is_some_and(|name| name == "run.lock") {
            true => drop(Folder::at(folder).lock().unwrap()),
            false => take_locks(&path),
        }
    }
}

fn check_same(found: &Files, expected: &Files) -> Result<(), String> {
    let names = found.keys().chain(expected.keys());
    let others: Vec<_> = names.filter(|name| found.get(*name) != expected.get(*name)).collect();
    ensure(others.is_empty(), || format!("other after going on: {others:?}"))
}

fn smallest() -> Experiment {
    let sets = SMALLEST.map(str::to_owned);
    Config::resolve(&Source::named("smoke"), &sets).unwrap().build(&TaskRegistry::builtin()).unwrap()
}

fn train(root: &Path) -> Result<(), CliError> {
    let experiment = smallest();
    let run = RunDir::create(root, &experiment)?;
    let lock = run.lock()?;
    complete(&run, &lock, &experiment, Device::Flex, true, &Stop::new()).map(drop)
}

#[test]
fn a_run_of_four_steps_survives_every_fault() {
    let place = tempfile::tempdir().unwrap();
    train(place.path()).unwrap();
    // Figures that are there are not drawn again, which would take most of the time.
    let figures: Files =
        files(place.path()).into_iter().filter(|(name, _)| name.to_str().unwrap().contains("/plots/")).collect();
    try_faults("a run of four steps", &figures, IN_TURN, train);
}

#[test]
#[ignore = "takes minutes; `just faults` runs it"]
fn a_run_of_four_steps_survives_every_fault_with_its_figures() {
    try_faults("a run of four steps with its figures", &Files::new(), EVERY, train);
}

/// The commands that train.
#[derive(Debug, Parser)]
struct Program {
    #[command(subcommand)]
    command: trainer::Command,
}

#[test]
#[ignore = "takes minutes; `just faults` runs it"]
fn a_sweep_of_two_survives_every_fault() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), "extends = \"smoke\"\nseeds = [0, 1]\n").unwrap();
    let sweep = |place: &Path| {
        let sets = SMALLEST.iter().flat_map(|set| ["--set", set]);
        let args = ["emergence", "sweep", file.path().to_str().unwrap(), "--quiet", "--out", place.to_str().unwrap()];
        Program::parse_from(args.into_iter().chain(sets)).command.run(&TaskRegistry::builtin())
    };
    try_faults("a sweep of two", &Files::new(), IN_TURN, sweep);
}

#[test]
#[ignore = "takes minutes; `just faults` runs it"]
fn every_measuring_command_survives_every_fault() {
    let (before, experiment) = trained();
    let legend = Legend::of(experiment.study.task.pairs().as_ref());
    for entry in ALL.iter().filter(|entry| entry.needs != Needs::Scores) {
        try_faults(entry.name, &before, EVERY, |place| {
            let run = Runs::under(place)?.of(&experiment)?.unwrap();
            let _lock = run.lock()?;
            measure_now(entry, &run, &experiment, Device::Flex, || Ok(()))?;
            report_run(&run, &legend)
        });
    }
}

/// A run of four steps, its experiment and the files of both.
fn trained() -> (Files, Experiment) {
    let root = tempfile::tempdir().unwrap();
    train(root.path()).unwrap();
    (files(root.path()), smallest())
}

#[test]
fn exports_and_a_comparison_survive_every_fault() {
    let (before, experiment) = trained();
    let study = &experiment.study;
    let run_of = |place: &Path| Ok::<_, CliError>(Runs::under(place)?.of(&experiment)?.unwrap());
    try_faults("export of states", &before, EVERY, |place| {
        let run = run_of(place)?;
        let checkpoints = Checkpoints::new(&run, &experiment, Device::Flex);
        let subject = checkpoints.at(4)?;
        Ok(StatesExport::collect(study, &*subject, 0)?.write_npz(&run.export_path(4, "npz"), false)?)
    });
    try_faults("export of prompts", &before, EVERY, |place| {
        Ok(write_prompts(study, experiment.architecture.d_model, 2, &run_of(place)?.prompts_path(), false)?)
    });
    try_faults("export of tables", &before, EVERY, |place| {
        let run = run_of(place)?;
        Ok(write_scalars(&scalars(run.path())?, &run.tensorboard_path().join("events"), false)?)
    });
    try_faults("a comparison", &before, EVERY, |place| {
        let both = [compared(&run_of(place)?, &experiment.config, &TaskRegistry::builtin())?];
        Ok(write_comparison(&both, ProbeKind::CD, &Folder::create(&place.join("compare"))?).map(drop)?)
    });
}

#[test]
#[ignore = "takes half a minute; `just faults` runs it"]
fn a_run_that_goes_on_from_another_survives_every_fault() {
    let (before, experiment) = trained();
    try_faults("a run that goes on from another", &before, IN_TURN, |place| {
        let from = Runs::under(place)?.of(&experiment)?.unwrap();
        let start = from.checkpoint(&experiment, 4)?;
        let mut config = experiment.config.clone();
        let run = experiment.config.run_name();
        config.finetune = Some(FinetuneConfig { run, step: 4, weights: start.digest(), free: Free::All });
        let experiment = config.build(&TaskRegistry::builtin())?;
        let run = RunDir::create_from(place, &experiment, &start)?;
        let lock = run.lock()?;
        complete(&run, &lock, &experiment, Device::Flex, true, &Stop::new()).map(drop)
    });
}

#[test]
#[ignore = "takes half a minute; `just faults` runs it"]
fn a_language_model_s_run_survives_every_fault() {
    let sets = FEW.iter().filter(|word| **word != "--set").chain(&["task.bits=2"]).map(|&set| set.to_owned());
    let mut config = LmConfig::resolve("bitwise", &sets.collect::<Vec<_>>()).unwrap();
    config.models = vec![golden("smollm2")];
    let series = Series::open(&config.models).unwrap();
    try_faults("a language model's run", &Files::new(), IN_TURN, |place| {
        let experiment = config.clone().build()?;
        let run = LmRun::create(place, &experiment, &series)?;
        let _lock = run.folder().lock()?;
        let subjects = series.asked(&experiment, Device::Flex, &|_, _| true);
        for entry in [Entry::of::<Accuracy>(), Entry::of::<Decodability>()] {
            run.measure(&entry, &entry.defaults(), &experiment.study, &subjects, Device::Flex)?;
        }
        run.report().map(drop)
    });
}
