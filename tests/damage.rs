//! A damaged run, a full disk and a system that refuses are named in a line, and nothing is lost.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::program::{check, emergence, emergence_within, files, notes_of, only_run, smoke_run, stderr, succeed};

/// Runs a command with files of at most so many blocks of 512 or 1,024 bytes, whichever the shell counts in: what is
/// longer fails as on a full disk.
fn with_files_of_at_most<S: AsRef<OsStr>>(blocks: usize, args: &[S]) -> Output {
    emergence_within(&format!("trap '' XFSZ; ulimit -f {blocks}"), args).output().unwrap()
}

#[test]
fn a_run_without_a_checkpoint_keeps_its_tables() {
    let (_root, run) = smoke_run();
    let name = run.to_str().unwrap();
    let commands =
        ["cd", "map", "algorithms", "patch", "transplant", "positions", "separation", "sites", "prune", "sensitivity"];
    commands.iter().for_each(|command| drop(succeed(&[command, name])));
    let tables = || -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = std::fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path());
        let tables = paths.filter(|path| path.extension().is_some_and(|extension| extension == "csv"));
        tables.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    let before = tables();
    assert_eq!(before.len(), 6 + 8 + 1, "those of training, one of each further command, and two of `separation`");
    std::fs::rename(run.join("checkpoints"), run.join("elsewhere")).unwrap();
    std::fs::create_dir(run.join("checkpoints")).unwrap();
    for command in commands.into_iter().chain(["export", "finetune"]) {
        check(&[command, name], 1, &[&format!("{name} has no checkpoint")]);
    }
    check(&["sites", name, "--step", "40"], 1, &["has no checkpoint"]);
    check(&["remeasure", name, "--set", "probe.neighbours=7"], 1, &["has no checkpoint"]);
    succeed(&["export", name, "--what", "prompts"]);
    std::fs::remove_dir(run.join("checkpoints")).unwrap();
    check(&["cd", name], 1, &[&format!("{name} has no checkpoint")]);
    assert!(tables() == before);
}

#[test]
fn a_damaged_run_is_refused_without_a_panic() {
    let (_root, run) = smoke_run();
    let last = run.join("checkpoints/00000040");
    succeed(&["patch", run.to_str().unwrap()]);
    let made = std::fs::read(run.join("made.toml")).unwrap();
    let damage = |path: &Path, change: &dyn Fn(&mut Vec<u8>), words: &[&str]| {
        let good = std::fs::read(path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        std::fs::write(path, bad).unwrap();
        check(&["export", run.to_str().unwrap(), "--what", "model"], 1, words);
        std::fs::write(path, good).unwrap();
    };
    let weights = last.join("model.safetensors");
    damage(&weights, &|bytes| bytes.truncate(100), &["model.safetensors", "SHA-256"]);
    damage(&weights, &|bytes| bytes.clear(), &["model.safetensors", "SHA-256"]);
    damage(&weights, &|bytes| bytes.extend([0; 9]), &["model.safetensors", "SHA-256"]);
    damage(&weights, &|bytes| bytes[2000] ^= 1, &["model.safetensors", "SHA-256"]);
    damage(&last.join("moment_1.safetensors"), &|bytes| bytes[2000] ^= 1, &["moment_1.safetensors", "SHA-256"]);
    damage(&last.join("meta.toml"), &|bytes| bytes.truncate(8), &["meta.toml"]);
    damage(&last.join("meta.toml"), &|bytes| bytes[10] = b'7', &["meta.toml", "its version is 7"]);
    damage(&run.join("config.toml"), &|bytes| bytes.truncate(30), &["config.toml"]);
    damage(&run.join("config.toml"), &|bytes| bytes.extend(b"\ncolour = 3\n"), &["config.toml", "colour"]);
    // What could not be measured again is noted as it was made.
    let good = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, "").unwrap();
    check(&["patch", run.to_str().unwrap(), "--mean-prompts", "7"], 1, &["model.safetensors", "SHA-256"]);
    assert!(std::fs::read(run.join("made.toml")).unwrap() == made);
    std::fs::write(&weights, good).unwrap();
    let table = std::fs::read_to_string(run.join("cd.csv")).unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    let row = [&row[..5], &["7.5"], &row[6..]].concat().join(",");
    std::fs::write(run.join("cd.csv"), format!("{table}{row}\n")).unwrap();
    check(&["report", run.to_str().unwrap()], 1, &["cd.csv is damaged: score must be between 0 and 1, but is 7.5"]);
    std::fs::write(run.join("metrics.csv"), "step,split\n1,eval\n").unwrap();
    check(
        &["report", run.to_str().unwrap()],
        1,
        &["metrics.csv: the columns must be step,", "but are step,split; missing: concept"],
    );
}

#[test]
fn a_damaged_last_checkpoint_is_kept_and_the_run_goes_on_from_the_one_before() {
    let (_root, run) = smoke_run();
    let path = run.to_str().unwrap();
    let whole = files(&run.join("checkpoints/00000040"));
    let tables = || ["training.csv", "metrics.csv", "cd.csv"].map(|name| std::fs::read(run.join(name)).unwrap());
    let before = tables();
    let damages: [&dyn Fn(&Path); 3] = [
        &|last| std::fs::write(last.join("model.safetensors"), &whole[Path::new("model.safetensors")][..100]).unwrap(),
        &|last| std::fs::remove_file(last.join("moment_2.safetensors")).unwrap(),
        &|last| std::fs::remove_file(last.join("meta.toml")).unwrap(),
    ];
    for (damage, kept) in damages.into_iter().zip(["damaged", "damaged-2", "damaged-3"]) {
        damage(&run.join("checkpoints/00000040"));
        let notes = notes_of(&["resume", path]);
        let words =
            format!("it is kept as {path}/checkpoints/00000040.{kept}, and training goes on from the one before");
        assert!(notes.contains(&words), "{notes}");
        assert!(files(&run.join("checkpoints/00000040")) == whole && tables() == before);
        assert!(run.join("checkpoints").join(format!("00000040.{kept}")).is_dir());
    }
}

#[test]
fn a_checkpoint_that_the_disk_does_not_give_is_not_called_damaged() {
    let (_root, run) = smoke_run();
    let weights = run.join("checkpoints/00000040/model.safetensors");
    std::fs::remove_file(&weights).unwrap();
    std::fs::create_dir(&weights).unwrap();
    check(&["resume", run.to_str().unwrap()], 1, &["could not read", "00000040/model.safetensors"]);
    assert!(weights.is_dir(), "it stays where it is");
}

#[test]
fn a_run_begins_anew_only_when_it_is_told_to() {
    let (_root, run) = smoke_run();
    let path = run.to_str().unwrap();
    check(&["resume", path, "--anew"], 2, &["--anew is for a run without a whole checkpoint", "step 40"]);
    let whole = files(&run.join("checkpoints/00000040"));
    let meta = run.join("checkpoints/00000040/meta.toml");
    std::fs::remove_file(&meta).unwrap();
    let before = files(&run);
    check(&["resume", path, "--anew"], 2, &["--anew is for a run without a whole checkpoint", "step 30"]);
    assert!(files(&run) == before, "a refusal changes nothing");
    std::fs::write(&meta, &whole[Path::new("meta.toml")]).unwrap();
    for step in ["00000040", "00000030"] {
        std::fs::remove_file(run.join("checkpoints").join(step).join("moment_1.safetensors")).unwrap();
    }
    let before = files(&run);
    check(&["resume", path], 1, &["00000040", "no optimizer state", &format!("resume {path} --anew")]);
    let mut after = files(&run);
    let failure = after.remove(Path::new("failure.txt")).unwrap();
    assert!(String::from_utf8_lossy(&failure).contains("no optimizer state"));
    assert!(after == before, "nothing else is changed");
    let notes = notes_of(&["resume", path, "--anew"]);
    assert!(notes.contains(&format!("kept as {path}/checkpoints.damaged")), "{notes}");
    assert!(files(&run.join("checkpoints/00000040")) == whole);
    // What was set aside is what nothing needs any more.
    succeed(&["runs", "clean", run.parent().unwrap().to_str().unwrap(), "--yes"]);
    assert!(!run.join("checkpoints.damaged").exists() && run.join("checkpoints/00000040").exists());
}

#[test]
fn a_table_that_is_gone_is_missed_and_can_be_made_again() {
    let (_root, run) = smoke_run();
    let path = run.to_str().unwrap();
    succeed(&["patch", path]);
    let before = files(&run);
    let tables = ["metrics.csv", "cd.csv", "patching.csv"];
    let remade = |table: &str| format!("{table} is missing; the command {} makes it again", command(table));
    tables.iter().for_each(|table| std::fs::remove_file(run.join(table)).unwrap());
    let text = succeed(&["report", path]);
    assert!(!text.contains("after 0 steps"), "{text}");
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for table in tables {
        assert!(text.contains(&remade(table)) && page.contains(&remade(table)), "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&succeed(&["report", path, "--json"])).unwrap();
    assert_eq!(json["missing"].as_array().unwrap().len(), 3);
    check(&["compare", path], 2, &[&format!("{path} is left out: "), "but there is none"]);
    tables.iter().for_each(|table| drop(succeed(&[command(table), path])));
    let after = files(&run);
    for table in tables.map(Path::new) {
        assert!(after[table] == before[table], "{}", table.display());
    }
    std::fs::remove_file(run.join("training.csv")).unwrap();
    assert!(succeed(&["report", path]).contains("training.csv is missing, and only training writes it"));
}

#[test]
fn a_damaged_run_in_a_folder_is_left_out_with_its_reason_and_one_that_is_named_is_refused() {
    let (root, run) = smoke_run();
    let [folder, sound] = [root.path(), &run].map(|path| path.to_str().unwrap());
    let [broken, torn] = ["broken", "torn"].map(|name| root.path().join(name));
    for (copy, seed) in [(&broken, 1), (&torn, 2)] {
        std::fs::create_dir(copy).unwrap();
        for file in ["legend.toml", "metrics.csv", "cd.csv", "cd_best.csv", "baselines.csv"] {
            std::fs::copy(run.join(file), copy.join(file)).unwrap();
        }
        let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
        std::fs::write(copy.join("config.toml"), config.replace("seed = 0", &format!("seed = {seed}"))).unwrap();
    }
    std::fs::write(broken.join("config.toml"), "name = ").unwrap();
    File::options().append(true).open(torn.join("metrics.csv")).unwrap().write_all(b"forty,eval\n").unwrap();
    let notes = notes_of(&["compare", folder]);
    assert!(notes.contains(&format!("{} is left out: ", broken.display())), "{notes}");
    assert!(
        notes.contains(&format!("{} is left out: {}", torn.display(), torn.join("metrics.csv").display())),
        "{notes}"
    );
    check(&["compare", broken.to_str().unwrap(), sound], 1, &["config.toml"]);
    std::fs::remove_dir_all(&torn).unwrap();
    let notes = notes_of(&["explore", folder]);
    assert!(notes.contains(&format!("{} is left out: ", broken.display())), "{notes}");
    std::fs::remove_dir_all(&run).unwrap();
    check(&["compare", folder], 1, &["config.toml"]);
}

/// The command that makes a table.
fn command(table: &str) -> &'static str {
    match table {
        "metrics.csv" => "errors",
        "patching.csv" => "patch",
        _ => "cd",
    }
}

#[test]
fn a_checkpoint_of_a_newer_program_is_not_called_damaged() {
    let (_root, run) = smoke_run();
    let meta = run.join("checkpoints/00000040/meta.toml");
    let text = std::fs::read_to_string(&meta).unwrap();
    std::fs::write(&meta, text.replace("version = 1", "version = 99")).unwrap();
    for command in ["export", "resume"] {
        let words = ["meta.toml was written by a newer program: its version is 99, and this program knows 1"];
        check(&[command, run.to_str().unwrap()], 1, &words);
    }
    std::fs::write(&meta, text).unwrap();
    let config = run.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("version = 2", "version = 99")).unwrap();
    check(&["report", run.to_str().unwrap()], 1, &["version must be between 1 and 2", "99, of a newer program"]);
}

#[test]
fn a_part_of_a_run_is_not_the_run_but_leads_to_it() {
    let (_root, run) = smoke_run();
    let path = run.to_str().unwrap();
    for part in ["config.toml", "checkpoints/00000040", "report.html"] {
        let words = format!("did you mean the run it lies in, {path}?");
        check(&["resume", &format!("{path}/{part}")], 2, &["is not a run", &words]);
    }
}

#[test]
fn a_checkpoint_in_another_place_or_behind_the_end_is_refused() {
    let (_root, run) = smoke_run();
    let [here, elsewhere] = ["00000040", "00000060"].map(|step| run.join("checkpoints").join(step));
    std::fs::rename(&here, &elsewhere).unwrap();
    for command in ["cd", "export"] {
        let expected = ["00000060/meta.toml is damaged", "step must be 60", "but is 40"];
        check(&[command, run.to_str().unwrap()], 1, &expected[..]);
    }
    std::fs::rename(&elsewhere, &here).unwrap();
    let run = without_seal(run);
    let config = run.join("config.toml");
    let shorter = std::fs::read_to_string(&config).unwrap().replace("steps = 40", "steps = 30");
    std::fs::write(&config, shorter).unwrap();
    check(&["resume", run.to_str().unwrap()], 1, &["train.steps must be at least 40", "but is 30"]);
}

/// The run in a folder of another name and without a seal, so that nothing but its checkpoints says what it was.
fn without_seal(run: PathBuf) -> PathBuf {
    let renamed = run.with_file_name("renamed");
    std::fs::rename(run, &renamed).unwrap();
    std::fs::remove_file(renamed.join("seal.toml")).unwrap();
    renamed
}

#[test]
fn a_configuration_that_was_edited_is_refused_with_the_field_and_both_values() {
    let (_root, run) = smoke_run();
    let path = run.join("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("neighbours = 10", "neighbours = 20")).unwrap();
    for command in ["resume", "cd", "report", "export", "patch", "finetune"] {
        let words = ["config.toml was changed", "probe.neighbours must be 10, but is 20"];
        check(&[command, run.to_str().unwrap()], 1, &words);
    }
}

#[test]
fn a_configuration_of_another_model_is_refused() {
    let (_root, run) = smoke_run();
    let run = without_seal(run);
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    let commands: &[&[&str]] = &[
        &["resume"],
        &["finetune", "--out", "/dev/null/never"],
        &["cd"],
        &["map"],
        &["algorithms"],
        &["positions"],
        &["separation"],
        &["sensitivity"],
        &["sites"],
        &["patch"],
        &["prune"],
        &["transplant"],
        &["export"],
        &["export", "--what", "model"],
    ];
    let changes = [("d_model = 16", "d_model = 32"), ("n_layers = 2", "n_layers = 3"), ("n_heads = 2", "n_heads = 4")];
    for (field, changed) in changes {
        std::fs::write(run.join("config.toml"), config.replace(field, changed)).unwrap();
        for command in commands {
            let words = ["is of another model", field.split_once(' ').unwrap().0, "saved weights"];
            // A command before may have sealed it.
            let _ = std::fs::remove_file(run.join("seal.toml"));
            check(&[*command, &[run.to_str().unwrap()]].concat(), 1, &words);
        }
    }
}

#[test]
fn a_write_that_fails_leaves_nothing_half_written() {
    // Not enough for the configuration's seal, and enough for all but a checkpoint.
    for (blocks, failed) in [(1, "seal.toml"), (512, "safetensors")] {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().to_str().unwrap();
        let train = ["train", "smoke", "--quiet", "--out", out, "--set", "model.d_model=128"];
        let output = with_files_of_at_most(blocks, &train);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("could not write") && stderr(&output).contains(failed), "{}", stderr(&output));
        let run = only_run(root.path());
        let mut left: Vec<_> =
            ["", "checkpoints"].iter().flat_map(|folder| run.join(folder).read_dir().unwrap()).collect();
        left.retain(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains("partial"));
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn threads_that_the_system_refuses_are_named() {
    // Every thread needs a stack of its own. They are large, so that what a few threads need besides fits in what is left.
    let train = ["train", "smoke", "--out", "/dev/null/never", "--threads", "1024"];
    let output = emergence_within("ulimit -v 1000000", &train).env("RUST_MIN_STACK", "250000000").output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("could not start 1024 threads (--threads): "), "{message}");
}

#[test]
fn a_full_disk_leaves_no_half_of_an_export() {
    let (_root, run) = smoke_run();
    let export = |what| ["export", run.to_str().unwrap(), "--what", what];
    let exported = || files(&run.join("export"));
    for (what, file) in
        [("states", "00000040.npz"), ("model", "00000040.hf/model.safetensors"), ("prompts", "prompts.npz")]
    {
        let limited = with_files_of_at_most(4, &export(what));
        let message = stderr(&limited);
        assert_eq!(limited.status.code(), Some(1), "{message}");
        assert!(message.contains("could not write") && message.contains(file), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(std::fs::read_dir(run.join("export")).unwrap().count(), 0, "after {what}");
    }
    // What was exported before stays as it was.
    let whats = ["states", "model", "prompts"];
    whats.iter().for_each(|what| drop(succeed(&export(what))));
    let before = exported();
    assert_eq!(before.len(), 1 + 3 + 1);
    whats.iter().for_each(|what| assert!(!with_files_of_at_most(4, &export(what)).status.success(), "{what}"));
    assert!(exported() == before);
}

#[test]
fn a_full_disk_leaves_a_run_that_goes_on() {
    let [whole, full] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    // With many tokens probed at many checkpoints cd.csv outgrows the limit in the middle of training, and the weights do
    // not, whether this shell counts in blocks of 512 or of 1,024 bytes.
    let arguments = |out: &Path| {
        let tokens = "probe.tokens=[\"x1\",\"x2\",\"x3\",\"y4\",\"y5\",\"x6\"]";
        let out = out.to_str().unwrap();
        ["train", "smoke", "--quiet", "--set", tokens, "--set", "checkpoints.every=2", "--out", out].map(str::to_owned)
    };
    succeed(&arguments(whole.path()));
    let limited = with_files_of_at_most(80, &arguments(full.path()));
    let message = stderr(&limited);
    assert_eq!(limited.status.code(), Some(1), "{message}");
    assert!(message.contains("could not append to") && message.contains("cd.csv"), "{message}");
    succeed(&["report", only_run(full.path()).to_str().unwrap()]);
    succeed(&arguments(full.path()));
    for table in ["training.csv", "metrics.csv", "cd.csv"] {
        let [ours, theirs] = [&full, &whole].map(|root| std::fs::read(only_run(root.path()).join(table)).unwrap());
        assert!(ours == theirs, "{table}");
    }
}

#[test]
fn a_result_that_does_not_arrive_is_an_error_unless_its_reader_went_away() {
    let (_root, run) = smoke_run();
    let run = run.to_str().unwrap();
    for args in [&["show", "smoke"][..], &["tasks"], &["baselines", run], &["report", run, "--json"]] {
        // Linux has a file that is a full disk.
        if let Ok(full) = File::options().write(true).open("/dev/full") {
            let output = emergence(args).stdout(full).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{args:?}");
            assert!(stderr(&output).contains("could not write to standard output"), "{}", stderr(&output));
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = emergence(args).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", stderr(&output));
    }
}
