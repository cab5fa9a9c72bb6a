//! Pretrained models are tuned and compared, and what was stopped goes on to the same tables.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::lm::{assert_same_tables, bitwise_run, golden, measure, modified, rows, tables, values};
use crate::lm_refusals::refused;
use crate::program::{emergence, files, kill, only_run, stderr, succeed, write_files};

/// Tunes `run` with small settings in the folder `out`.
fn finetune<'a>(run: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut command =
        vec!["lm", "finetune", run.to_str().unwrap(), "--out", out.to_str().unwrap(), "--free", "first=1"];
    command.extend(["--set", "finetune.rank=2", "--set", "finetune.batch_size=4"]);
    command.extend(more);
    command
}

#[test]
fn a_model_is_tuned_measured_and_compared() {
    let (_root, run) = bitwise_run();
    let out = tempfile::tempdir().unwrap();
    let tune = finetune(&run, out.path(), &["--set", "finetune.samples=8"]);
    succeed(&tune);
    let tuned = only_run(out.path());
    assert!(tuned.file_name().unwrap().to_str().unwrap().starts_with("bitwise-first-1-"));
    assert!(["cd.csv", "accuracy.csv", "report.html"].iter().all(|name| tuned.join(name).is_file()));
    assert_eq!(rows(&tuned.join("adapter/tuning_loss.csv")).len(), 2);
    let config = std::fs::read_to_string(tuned.join("adapter/adapter_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["peft_type"], &config["r"]), (&"LORA".into(), &2.into()));
    assert_eq!(config["layers_to_transform"], serde_json::json!([0]));
    let adapter = std::fs::read(tuned.join("adapter/adapter_model.safetensors")).unwrap();
    let adapter = safetensors::SafeTensors::deserialize(&adapter).unwrap();
    let mut names = adapter.names();
    names.sort();
    let of_map =
        |map: &str| ["A", "B"].map(|it| format!("base_model.model.model.layers.0.self_attn.{map}.lora_{it}.weight"));
    assert_eq!(names, ["q_proj", "v_proj"].map(of_map).concat());
    assert!(tables(&tuned)[Path::new("answers.csv")] != tables(&run)[Path::new("answers.csv")]);
    // Again, by the same command and by the run's own configuration: nothing is tuned or measured anew.
    let (before, times) = (files(&tuned.join("adapter")), modified(&tuned));
    let config = tuned.join("config.toml");
    let by_its_own = ["lm", "measure", config.to_str().unwrap(), "--out", out.path().to_str().unwrap()];
    for command in [&tune[..], &by_its_own] {
        succeed(command);
        assert!(files(&tuned.join("adapter")) == before && modified(&tuned) == times && only_run(out.path()) == tuned);
    }
    // Removed tables are made from the adapters.
    let before = tables(&tuned);
    std::fs::remove_file(tuned.join("cd.csv")).unwrap();
    std::fs::remove_file(tuned.join("made.toml")).unwrap();
    succeed(&by_its_own);
    assert!(tables(&tuned) == before);
    succeed(&["lm", "tdnv", tuned.to_str().unwrap()]);
    let compared = out.path().join("compared");
    let [base, after, folder] = [&run, &tuned, &compared].map(|path| path.to_str().unwrap());
    assert_eq!(succeed(&["lm", "compare", base, after, "--out", folder]).trim(), folder);
    let found = rows(&compared.join("tuning.csv"));
    assert_eq!(values(&found, "trainable"), ["", "first=1"]);
    assert!(compared.join("tuning.svg").is_file() && compared.join("tuning.png").is_file());
}

#[test]
fn a_comparison_is_of_one_model_which_need_not_be_there() {
    let root = tempfile::tempdir().unwrap();
    let [model, before, after, tuned, compared] =
        ["model", "before", "after", "tuned", "compared"].map(|name| root.path().join(name));
    write_files(&files(&golden("smollm2")), &model);
    let measured = |out: &Path| {
        succeed(&measure("bitwise", model.to_str().unwrap(), out.to_str().unwrap(), &[]));
        only_run(out)
    };
    let run = measured(&before);
    succeed(&finetune(&run, &tuned, &["--set", "finetune.samples=8"]));
    let weights = model.join("model.safetensors");
    let mut changed = std::fs::read(&weights).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, changed).unwrap();
    let of_others = measured(&after);
    std::fs::remove_dir_all(&model).unwrap();
    let tuned = only_run(&tuned);
    let [run, of_others, tuned, out] = [&run, &of_others, &tuned, &compared].map(|path| path.to_str().unwrap());
    refused(&["lm", "compare", of_others, tuned, "--out", out], &["its SHA-256 must be", "as when", of_others]);
    succeed(&["lm", "compare", run, tuned, "--out", out]);
}

/// Starts a command, interrupts it when `begun`, and waits for its end.
fn interrupted(command: &[&str], begun: impl Fn() -> bool) -> Output {
    let child = emergence(command).spawn().unwrap();
    let started = Instant::now();
    while !begun() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing has begun");
        std::thread::sleep(Duration::from_millis(2));
    }
    kill("-TERM", &child);
    child.wait_with_output().unwrap()
}

#[test]
fn a_measurement_that_is_interrupted_goes_on() {
    let (model, [whole, stopped]) = (golden("smollm2"), [1, 2].map(|_| tempfile::tempdir().unwrap()));
    let more = ["--set", "eval.prompts_per_concept=300", "--set", "task.bits=12"];
    let [whole, stopped] = [&whole, &stopped].map(|root| root.path());
    let command = |root| measure("bitwise", model.to_str().unwrap(), root, &more);
    let mut child = emergence(&command(stopped.to_str().unwrap())).spawn().unwrap();
    // It says what it takes when it listens to signals, just before it begins.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("about"), "{line}");
    kill("-TERM", &child);
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    let run = only_run(stopped);
    assert!(tables(&run).is_empty() && !files(&run).keys().any(|path| path.to_str().unwrap().contains("partial")));
    let again = rest.split_once("To go on: emergence ").unwrap_or_else(|| panic!("{rest}")).1;
    succeed(&again.split_whitespace().collect::<Vec<_>>());
    succeed(&command(whole.to_str().unwrap()));
    assert_eq!(only_run(stopped), run);
    assert_same_tables(&run, &only_run(whole));
}

#[test]
fn tuning_that_is_interrupted_goes_on() {
    let (_root, run) = bitwise_run();
    let [whole, stopped] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let more = ["--set", "finetune.samples=400", "--set", "finetune.checkpoint_every=7"];
    let losses = || {
        let runs = std::fs::read_dir(stopped.path()).ok()?;
        let table = runs.flatten().next()?.path().join("adapter/tuning_loss.csv");
        Some(std::fs::read_to_string(table).ok()?.lines().count())
    };
    let output = interrupted(&finetune(&run, stopped.path(), &more), || losses().is_some_and(|lines| lines > 3));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("is saved, and the same command goes on from there"), "{said}");
    let tuned = only_run(stopped.path());
    assert!(!tuned.join("adapter/adapter_model.safetensors").exists() && !tuned.join("cd.csv").exists());
    for root in [&stopped, &whole] {
        succeed(&finetune(&run, root.path(), &more));
    }
    assert_same_tables(&tuned, &only_run(whole.path()));
    let [ours, theirs] = [&tuned, &only_run(whole.path())].map(|run| files(&run.join("adapter")));
    assert!(ours == theirs, "the adapters differ");
}
