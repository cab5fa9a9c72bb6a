//! A model without attention is trained, resumed, tuned and measured like one with it; what needs attention is refused.

use std::path::{Path, PathBuf};

use analysis::{ExchangeRow, MetricRow, PatchKind, PatchRow};
use probe::Layer;
use run::RunDir;

use crate::program::{check, files, only_run, succeed};

const LSTM: [&str; 6] = ["--set", "model.kind=lstm", "--set", "model.n_heads=0", "--set", "model.position_std=0.0"];

/// A finished run in `root`.
fn trained(root: &Path, more: &[&str]) -> PathBuf {
    let train = ["train", "smoke", "--quiet", "--out", root.to_str().unwrap()];
    succeed(&[&train[..], &LSTM, more].concat());
    only_run(root)
}

/// What training makes, which is a matter of the settings alone.
fn bits(run: &Path) -> Vec<Vec<u8>> {
    let names = ["training.csv", "metrics.csv", "cd.csv", "map.csv", "checkpoints/00000040/model.safetensors"];
    names.iter().map(|name| std::fs::read(run.join(name)).unwrap()).collect()
}

#[test]
fn it_goes_on_to_the_same_bits_with_any_number_of_threads() {
    let [whole, cut] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let whole = trained(whole.path(), &["--threads", "1"]);
    let cut = trained(cut.path(), &["--threads", "3", "--set", "checkpoints.full=100"]);
    assert!(bits(&cut) == bits(&whole), "three threads give other bits");
    for saved in RunDir::open(&cut).unwrap().steps().unwrap().into_iter().filter(|saved| *saved > 10) {
        std::fs::remove_dir_all(cut.join(format!("checkpoints/{saved:08}"))).unwrap();
    }
    succeed(&["resume", cut.to_str().unwrap(), "--quiet"]);
    assert!(bits(&cut) == bits(&whole), "a run that was cut goes on to other bits");
}

#[test]
fn it_is_measured_but_for_what_needs_attention() {
    let root = tempfile::tempdir().unwrap();
    let run = trained(root.path(), &[]);
    let (path, run) = (run.to_str().unwrap(), RunDir::open(&run).unwrap());
    for command in ["separation", "tdnv", "algorithms", "positions", "interchange", "sensitivity"] {
        succeed(&[command, path]);
    }
    succeed(&["patch", path, "--mean-prompts", "10"]);
    let rows: Vec<PatchRow> = run.table().read().unwrap();
    let changes = |layer, kind| {
        let here = rows.iter().filter(move |row| row.layer == Layer(layer) && row.kind == kind);
        here.filter(|row| row.step == 40 && row.strength.is_none()).map(|row| row.change)
    };
    for layer in 0..=2 {
        assert!(changes(layer, PatchKind::Itself).all(|change| change == 0.0), "layer {layer}");
        assert!(changes(layer, PatchKind::Concept).all(|change| change != 0.0), "layer {layer}");
    }
    succeed(&["transplant", path, "--step", "0,40", "--layer", "1"]);
    let errors: Vec<MetricRow> = run.table().read().unwrap();
    for row in run.table::<ExchangeRow>().read().unwrap().iter().filter(|row| row.early_step == row.late_step) {
        let same = |error: &&MetricRow| {
            error.step == row.late_step && error.concept == row.concept && error.position.is_none()
        };
        let measured = errors.iter().find(same).unwrap().relative_mse;
        assert!((row.error / measured - 1.0).abs() < 1e-6, "{} is not {measured}", row.error);
    }
    let before = files(run.path());
    for command in ["prune", "sites", "interchange-heads", "heads"] {
        check(&[command, path], 2, &["the model must be one with attention"]);
    }
    check(&["export", path, "--format", "hf"], 2, &["model.kind must be transformer for GPT2Model, but is lstm"]);
    assert!(files(run.path()) == before);
    assert!(std::fs::read_to_string(run.report()).unwrap().contains("lstm of 2 blocks of width 16"));
}

#[test]
fn what_is_frozen_keeps_its_bits() {
    let root = tempfile::tempdir().unwrap();
    let start = trained(root.path(), &[]);
    let weights = |run: &Path, step: usize| {
        let file = std::fs::read(run.join(format!("checkpoints/{step:08}/model.safetensors"))).unwrap();
        model::decode(&file).unwrap().1
    };
    let before = weights(&start, 40);
    for (free, prefix) in [("first=1", "blocks.0."), ("last=1", "blocks.1."), ("read_out", "read_out.")] {
        let out = tempfile::tempdir().unwrap();
        let command = ["finetune", start.to_str().unwrap(), "--quiet", "--free", free, "--set", "train.steps=4"];
        let bases = ["--set", "task.bases={coordinates=[[0,2],[1,3]]}", "--out", out.path().to_str().unwrap()];
        succeed(&[&command[..], &bases].concat());
        for (name, after) in weights(&only_run(out.path()), 4) {
            assert_eq!(after == before[&name], !name.starts_with(prefix), "{name} with --free {free}");
        }
    }
    let other = ["--set", "model.kind=transformer", "--set", "model.n_heads=1", "--out", "/dev/null/never"];
    let refused = ["model.kind must be that of the saved weights (lstm), but is transformer"];
    check(&[&["finetune", start.to_str().unwrap()], &other[..]].concat(), 2, &refused);
}
