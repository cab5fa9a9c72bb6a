//! Every experiment in `experiments/` asks a question, runs in small, and says how it runs at the paper's size.

use std::path::{Path, PathBuf};

use analysis::{AlgorithmRow, MetricRow};
use run::{Config, PRESETS, RunDir, Source, Sweep};

use crate::program::{only_run, succeed};

fn configurations(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(!found.is_empty());
    found
}

/// The experiments, without the presets that are built into the program.
fn experiments() -> Vec<PathBuf> {
    configurations("experiments").into_iter().filter(|path| !is_built_in(path)).collect()
}

fn is_built_in(path: &Path) -> bool {
    PRESETS.iter().any(|(name, _)| path.file_stem().unwrap() == *name)
}

fn assert_begins_with_a_question(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("# ") && first.ends_with('?'), "{}: {first}", path.display());
}

#[test]
fn an_experiment_is_named_as_its_file_and_begins_with_a_question() {
    for path in experiments() {
        assert_begins_with_a_question(&path);
        let config = Config::resolve(&Source::File(path.clone()), &[]).unwrap();
        assert_eq!(path.file_stem().unwrap(), config.name.as_str());
    }
}

#[test]
fn a_sweep_is_named_as_its_file_and_begins_with_a_question() {
    for path in configurations("experiments/sweeps") {
        assert_begins_with_a_question(&path);
        let sweep = Sweep::resolve(&Source::File(path.clone()), &[]).unwrap();
        assert_eq!(path.file_stem().unwrap(), sweep.name.as_str());
    }
}

#[test]
fn the_command_for_the_papers_size_is_one() {
    for path in configurations("experiments") {
        let text = std::fs::read_to_string(&path).unwrap();
        let command = text.lines().find_map(|line| line.strip_prefix("#     train paper"));
        assert!(command.is_some() || is_built_in(&path), "{} has no command", path.display());
        let Some(sets) = command else { continue };
        let sets: Vec<String> = sets.split(" --set ").skip(1).map(str::to_owned).collect();
        let config = Config::resolve(&Source::named("paper"), &sets).unwrap();
        assert_eq!(config.model.d_model, 256);
        config.build(&data::TaskRegistry::builtin()).unwrap();
    }
}

/// A few steps of a model of 16 coordinates: every table has every concept, and the trace every predictor.
#[test]
fn every_experiment_runs_scaled_down() {
    const SMALL: [&str; 8] = [
        "model.d_model=16",
        "model.n_layers=3",
        "train.steps=4",
        "train.batch_size=8",
        "checkpoints.every=4",
        "eval.prompts_per_concept=4",
        "probe.prompts_per_concept=8",
        "probe.resamples=2",
    ];
    for path in experiments() {
        let root = tempfile::tempdir().unwrap();
        let mut args = vec!["train", path.to_str().unwrap(), "--quiet", "--out", root.path().to_str().unwrap()];
        SMALL.iter().for_each(|set| args.extend(["--set", set]));
        succeed(&args);
        let run = RunDir::open(&only_run(root.path())).unwrap();
        succeed(&["algorithms", run.path().to_str().unwrap()]);
        let task = run.experiment(&data::TaskRegistry::builtin()).unwrap().study.task.pairs().clone();
        let metrics = run.table::<MetricRow>().read().unwrap();
        let trace = run.table::<AlgorithmRow>().read().unwrap();
        for concept in task.concepts() {
            let named = |found: &Option<String>| found.as_deref() == Some(concept.name.as_str());
            assert!(metrics.iter().any(|row| row.step == 4 && named(&row.concept)), "{}", concept.name);
            for predictor in task.predictors().iter().chain(&task.algorithms()) {
                let of_predictor = |row: &&AlgorithmRow| row.predictor == predictor.name() && named(&row.concept);
                assert!(trace.iter().any(|row| row.step == 4 && of_predictor(&row)), "{}", predictor.name());
            }
        }
    }
}
