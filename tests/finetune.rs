//! A run that continues from another: what is frozen keeps its bits, and stopping changes nothing.

use std::path::{Path, PathBuf};

use burn_flex::{Flex, FlexDevice};
use data::{Purpose, Sampler, Stream, TaskRegistry};
use model::{Free, Model, Weights, gradients_to_weights};
use run::{Checkpoint, Config, RunDir, Source};

use crate::program::{emergence, only_run, smoke_run, stderr, succeed};

/// The folder of a run that continues from `run` with other bases.
fn finetune(run: &Path, out: &Path, more: &[&str]) -> PathBuf {
    let bases = "task.bases={coordinates=[[0,2],[1,3]]}";
    let [run, out] = [run, out].map(|path| path.to_str().unwrap());
    succeed(&[&["finetune", run, "--quiet", "--set", bases, "--out", out], more].concat());
    only_run(Path::new(out))
}

fn checkpoint(run: &Path, step: usize) -> Checkpoint {
    let run = RunDir::open(run).unwrap();
    run.checkpoint(&run.experiment(&TaskRegistry::builtin()).unwrap(), step).unwrap()
}

fn weights(run: &Path, step: usize) -> Weights {
    checkpoint(run, step).weights
}

#[test]
fn frozen_weights_keep_their_bits_and_free_ones_move() {
    let (_root, start) = smoke_run();
    let first = weights(&start, 40);
    type IsFree = fn(&str) -> bool;
    let cases: [(&str, IsFree); 4] = [
        ("all", |_| true),
        ("first=1", |name| name.starts_with("blocks.0.")),
        ("last=1", |name| name.starts_with("blocks.1.")),
        ("read_out", |name| name.starts_with("final_norm.") || name.starts_with("read_out.")),
    ];
    for (free, is_free) in cases {
        let out = tempfile::tempdir().unwrap();
        let run = finetune(&start, out.path(), &["--free", free]);
        assert_eq!(weights(&run, 0), first, "{free} starts where the other run ended");
        let last = weights(&run, 40);
        for name in first.keys() {
            let bits = |weights: &Weights| weights[name].values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&last) == bits(&first), !is_free(name), "{name} with --free {free}");
        }
        // What is frozen has never had a gradient.
        let moments = checkpoint(&run, 40).moments.unwrap();
        for (name, tensor) in &moments.second {
            assert_eq!(tensor.values.iter().all(|&x| x == 0.0), !is_free(name), "{name} with --free {free}");
        }
    }
}

/// The norm is summed in f32 over some thousand squares.
const NORM_TOLERANCE: f64 = 1e-5;

#[test]
fn what_is_frozen_has_no_gradient_and_no_part_in_the_norm() {
    let config = Config::resolve(&Source::named("smoke"), &[]).unwrap();
    let experiment = config.build(&TaskRegistry::builtin()).unwrap();
    let rng = &mut Stream::new(0, Purpose::Init).rng(0);
    let drawn = experiment.config.model.init(&experiment.architecture, rng);
    let prompts =
        Sampler::new(experiment.study.task.pairs().clone(), Stream::new(0, Purpose::Train)).prompts(0..16).unwrap();
    let found = |free: Free| {
        let model = Model::<Flex>::new(&experiment.architecture, &drawn, &FlexDevice).unwrap();
        let found = trainer::gradients(&model, free, &prompts, 3, &FlexDevice);
        let norm: Vec<f32> = found.norm.into_data().to_vec().unwrap();
        (gradients_to_weights(&model, &found.parameters), f64::from(norm[0]))
    };
    let (whole, _) = found(Free::All);
    for (free, tensors) in [(Free::First(1), 12), (Free::Last(1), 12), (Free::ReadOut, 4), (Free::All, whole.len())] {
        let (gradients, norm) = found(free);
        assert_eq!(gradients.len(), tensors, "{free:?}");
        // Freezing the rest changes no gradient.
        gradients.iter().for_each(|(name, gradient)| assert_eq!(gradient, &whole[name], "{name} with {free:?}"));
        let squares: f64 = gradients.values().flat_map(|g| &g.values).map(|&x| f64::from(x).powi(2)).sum();
        assert!(
            (norm / squares.sqrt() - 1.0).abs() < NORM_TOLERANCE,
            "{norm} against {} with {free:?}",
            squares.sqrt()
        );
    }
}

#[test]
fn a_tuned_run_goes_on_to_the_same_bits() {
    let (_root, start) = smoke_run();
    let [whole, cut] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let free = ["--free", "last=1", "--set", "checkpoints.full=100"];
    let [whole, cut] = [whole.path(), cut.path()].map(|out| finetune(&start, out, &free));
    let same = || {
        for name in ["training.csv", "metrics.csv", "cd.csv", "checkpoints/00000040/model.safetensors"] {
            assert!(std::fs::read(cut.join(name)).unwrap() == std::fs::read(whole.join(name)).unwrap(), "{name}");
        }
    };
    same();
    for step in [20, 0] {
        for saved in RunDir::open(&cut).unwrap().steps().unwrap().into_iter().filter(|saved| *saved > step) {
            std::fs::remove_dir_all(cut.join(format!("checkpoints/{saved:08}"))).unwrap();
        }
        succeed(&["resume", cut.to_str().unwrap(), "--quiet"]);
        same();
    }
}

#[test]
fn where_the_weights_lay_changes_nothing() {
    let (_root, start) = smoke_run();
    let moved = tempfile::tempdir().unwrap();
    let there = moved.path().join("elsewhere");
    let [one, two] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let name = |run: PathBuf| run.file_name().unwrap().to_owned();
    let before = name(finetune(&start, one.path(), &[]));
    std::fs::rename(&start, &there).unwrap();
    assert_eq!(name(finetune(&there, two.path(), &[])), before);
    let config = std::fs::read_to_string(only_run(two.path()).join("config.toml")).unwrap();
    let name = start.file_name().unwrap().to_str().unwrap();
    assert!(config.contains("[finetune]") && config.contains(&format!("run = \"{name}\"")), "{config}");
    let report = std::fs::read_to_string(only_run(two.path()).join("report.html")).unwrap();
    assert!(report.contains(&format!("config.toml --out {}", two.path().display())));
}

#[test]
fn starting_weights_that_are_damaged_or_missing_are_refused() {
    let (_root, start) = smoke_run();
    let out = tempfile::tempdir().unwrap();
    let run = finetune(&start, out.path(), &[]);
    let config = run.join("config.toml");
    let elsewhere = tempfile::tempdir().unwrap();
    let args = ["train", config.to_str().unwrap(), "--out", elsewhere.path().to_str().unwrap()];
    let refused = emergence(&args).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("start.safetensors"), "{}", stderr(&refused));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);

    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    std::fs::create_dir(run.join("checkpoints")).unwrap();
    let path = run.join("start.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = emergence(&["resume", run.to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("start.safetensors is damaged: its SHA-256"), "{}", stderr(&refused));
}
