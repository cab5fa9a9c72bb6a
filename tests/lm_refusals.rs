//! What is wrong with a prompt, a corpus or a request about language models is refused in one sentence, and nothing is left
//! behind.

use std::path::Path;

use crate::lm::{bitwise_run, corpus, golden, lines, measure};
use crate::program::{check, emergence, files, only_run, smoke_run, stderr, succeed};

/// Runs a command that must be refused with one line that contains every one of `words`.
pub(crate) fn refused(args: &[&str], words: &[&str]) {
    check(args, 2, words);
    let said = stderr(&emergence(args).output().unwrap());
    // What is said of work that had begun stands ahead of it.
    let is_of_work = |line: &str| line.contains(": about ") || line.starts_with("step ");
    let lines: Vec<&str> = said.lines().filter(|line| !is_of_work(line)).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{args:?}: {said}");
}

/// Replaces text in a file.
pub(crate) fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn texts_that_are_no_prompts_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let [prompts, out] = ["prompts.jsonl", "states.npz"].map(|name| place.path().join(name));
    let long = format!("{{\"text\": {:?}}}\n", "no ".repeat(600));
    let cases: [(&[u8], &[&str]); 7] = [
        (b"", &["prompts.jsonl: it must have a text at least, but is empty"]),
        (b"\n \n", &["prompts.jsonl: it must have a text at least, but is empty"]),
        (
            b"{\"text\": \"a\"}\n{\"txt\": \"b\"}\n",
            &["prompts.jsonl: line 2 must be a JSON object with a text", "`text`"],
        ),
        (b"the cat\n", &["prompts.jsonl: line 1 must be a JSON object with a text"]),
        (b"{\"text\": \"caf\xe9\"}\n", &["prompts.jsonl: it must be UTF-8, but is in another encoding"]),
        (
            b"{\"text\": \"\"}\n",
            &["the number of tokens of \"\" must be between 1 and the model's positions (512), but is 0"],
        ),
        (long.as_bytes(), &["the number of tokens of \"no no", "between 1 and the model's positions (512), but is"]),
    ];
    let model = golden("smollm2");
    let [model, file] = [&model, &prompts].map(|path| path.to_str().unwrap());
    let command = ["lm", "states", "--model", model, "--prompts", file, "--out", out.to_str().unwrap()];
    for (text, words) in cases {
        std::fs::write(&prompts, text).unwrap();
        refused(&command, words);
        assert!(!out.exists());
    }
    let taken = ["lm", "states", "--model", model, "--prompts", file, "--out", place.path().to_str().unwrap()];
    std::fs::write(&prompts, "{\"text\": \"a\"}\n").unwrap();
    refused(&taken, &["is not a file"]);
    let said = stderr(&emergence(&taken).output().unwrap());
    assert!(!said.contains("step "), "it is said before the work: {said}");
    std::fs::remove_file(&prompts).unwrap();
    refused(&command, &["prompts.jsonl: it must be a file with JSON lines, but there is none"]);
}

#[test]
fn a_corpus_that_does_not_serve_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let [brown, out] = ["brown", "runs"].map(|name| place.path().join(name));
    let (model, set) = (golden("smollm2"), format!("task.corpus={}", brown.display()));
    let classes = ["--set", &set, "--set", "task.classes=[\"noun\",\"pronoun\"]"];
    let command = measure("part-of-speech", model.to_str().unwrap(), out.to_str().unwrap(), &classes);
    refused(&command, &["task.corpus", "brown cannot be read"]);
    corpus(&brown);
    let good = std::fs::read_to_string(&brown).unwrap();
    let utf_16: Vec<u8> = [0xfeff].into_iter().chain(good.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let cases: [(Vec<u8>, &str); 4] = [
        (utf_16, "UTF-16"),
        (good.replace("him/ppo", "Tom/np").into_bytes(), "has no sentence with a first pronoun"),
        (b"The cat sat on the mat.\n".to_vec(), "must be text tagged as word/TAG"),
        (good.lines().next().unwrap().as_bytes().to_vec(), "sentences with a word of every class in each half"),
    ];
    for (text, words) in cases {
        std::fs::write(&brown, text).unwrap();
        refused(&command, &["task.corpus: ", words]);
        assert!(!out.exists());
    }
}

#[test]
fn lines_of_concepts_that_cannot_be_told_apart_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let [mine, task, out] = ["mine.jsonl", "task.toml", "runs"].map(|name| place.path().join(name));
    let of_lines = format!(
        "extends = \"base\"\nname = \"letters\"\n[task]\nkind = \"file\"\nfile = {mine:?}\nshots = [0]\n\
         template = \"{{input}} -> {{output}}\\n\"\nnull = false\nnamed = false\nplace = \"prompt\"\n"
    );
    std::fs::write(&task, of_lines).unwrap();
    lines(&mine);
    let good = std::fs::read_to_string(&mine).unwrap();
    let first: serde_json::Value = serde_json::from_str(good.lines().next().unwrap()).unwrap();
    let mut twin = first.clone();
    twin["concept"] = "last".into();
    let model = golden("smollm2");
    let command = measure(task.to_str().unwrap(), model.to_str().unwrap(), out.to_str().unwrap(), &[]);
    let cases = [
        (format!("{good}{twin}\n").into_bytes(), "cannot be told from line 1"),
        (good.replacen("\"query\"", "\"qeury\"", 1).into_bytes(), "line 1, "),
        (b"caf\xe9".to_vec(), "mine.jsonl must be UTF-8"),
        (Vec::new(), "must have at least two concepts"),
    ];
    for (text, words) in cases {
        std::fs::write(&mine, text).unwrap();
        refused(&command, &["task.file: ", words]);
        assert!(!out.exists());
    }
}

#[test]
fn a_measurement_that_makes_no_sense_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("runs");
    let model = golden("smollm2");
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--set", "probe.colour=1"], &["probe", "colour"]),
        (&["--set", "task.bits=33"], &["task.bits must be between 1 and 32, but is 33"]),
        (&["--set", "task.shots=[2,1]"], &["task.shots must be a list", "[2, 1]"]),
        (&["--set", "task.kind=maths"], &["task.kind must be one of bitwise, file, part_of_speech", "maths"]),
        (&["--set", "probe.tokens=[\"query_x\"]"], &["probe.tokens must be empty for prompts of text", "query_x"]),
        (&["--set", "probe.neighbours=0"], &["probe.neighbours", "0"]),
        (&["--set", "name=a/b"], &["name", "a/b"]),
        (
            &["--set", "finetune.learning_rate=0.0"],
            &["finetune.learning_rate must be a finite number above 0, but is 0"],
        ),
        (&["--set", "finetune.free=middle"], &["free", "all, first=N or last=N", "middle"]),
        (&["--set", "task.bits=32", "--set", "task.shots=[0,64]"], &["the number of tokens of", "positions (512)"]),
        (&["--model", "/nowhere/step1"], &["--model must be folders whose names have step and a number", "smollm2"]),
    ];
    for (more, words) in cases {
        refused(&measure("bitwise", model.to_str().unwrap(), out.to_str().unwrap(), more), words);
        assert!(!out.exists(), "{more:?}");
    }
    refused(&["lm", "measure", "bitwise"], &["--model must be a folder at least, but is absent"]);
    refused(&["lm", "measure", "nothing"], &["nothing", "bitwise, part-of-speech"]);
    check(&["lm", "measure"], 2, &["CONFIG"]);
}

#[test]
fn models_that_are_no_steps_of_one_training_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("runs");
    let folders = [("step0", "smollm2"), ("step10", "pythia-f16"), ("again-step0", "smollm2")];
    let [first, other, again] = folders.map(|(name, of)| {
        let folder = place.path().join(name);
        crate::program::write_files(&files(&golden(of)), &folder);
        folder.to_str().unwrap().to_owned()
    });
    let cases: [(&str, &[&str]); 2] = [
        (&other, &["step10: it must have 3 blocks of width 24 as the others, but has 3 of width 32"]),
        (&again, &["--model must be folders of different steps, but is step 0 twice"]),
    ];
    for (second, words) in cases {
        refused(&measure("bitwise", &first, out.to_str().unwrap(), &["--model", second]), words);
        assert!(!out.exists());
    }
}

#[test]
fn a_request_about_a_run_is_checked_against_that_run() {
    let (_root, run) = bitwise_run();
    let before = files(&run);
    let name = run.to_str().unwrap();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["intervene", "--layer", "99"], &["--layer", "(3)", "99"]),
        (&["intervene", "--layer", "0"], &["--layer", "between 1 and", "0"]),
        (&["intervene", "--shots", "7"], &["--shots", "(2)", "7"]),
        (&["intervene", "--step", "5"], &["step", "the models of the run (0)", "5"]),
        (&["map", "--layer", "4"], &["--layer", "(3)", "4"]),
        (&["map", "--token", "x9"], &["--token", "x9"]),
    ];
    for (command, words) in cases {
        refused(&[&["lm", command[0], name], &command[1..]].concat(), words);
    }
    for command in ["patch", "prune", "transplant", "algorithms"] {
        check(&["lm", command, name], 2, &[command]);
    }
    let after = files(&run).into_iter().filter(|(path, _)| path != Path::new("run.lock"));
    assert!(after.eq(before.into_iter().filter(|(path, _)| path != Path::new("run.lock"))));
}

#[test]
fn tuning_that_makes_no_sense_is_refused() {
    let (root, run) = bitwise_run();
    let out = root.path().join("tuned");
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["--free", "first=99"],
            &["finetune.free must be all, or first=N or last=N", "between 1 and the model's 3 layers", "99"],
        ),
        (&["--free", "last=0"], &["finetune.free", "between 1", "0"]),
        (&["--set", "finetune.rank=25"], &["finetune.rank must be between 1 and the model's width (24), but is 25"]),
        (&["--set", "finetune.targets=[\"dense\"]"], &["finetune.targets must be some of q_proj", "dense"]),
        (&["--set", "finetune.epochs=2"], &["finetune", "epochs"]),
        (&["--set", "task.bits=3"], &["--set must be a change of name or finetune", "but is task.bits=3"]),
    ];
    let command = |more: &[&'static str]| [&["lm", "finetune", run.to_str().unwrap(), "--out"], more].concat();
    for (more, words) in cases {
        let mut typed = command(&[]);
        typed.push(out.to_str().unwrap());
        typed.extend(more);
        refused(&typed, words);
        assert!(!out.exists(), "{more:?}");
    }
    let mut typed = command(&[]);
    typed.extend([out.to_str().unwrap(), "--free", "nonsense"]);
    check(&typed, 2, &["--free", "finetune.free must be all, first=N or last=N, but is nonsense"]);
    // Adapters are tuned on models as they were.
    let tiny = ["--free", "last=1", "--set", "finetune.samples=4", "--set", "finetune.batch_size=2"];
    succeed(&[&["lm", "finetune", run.to_str().unwrap(), "--out", out.to_str().unwrap()], &tiny[..]].concat());
    let tuned = only_run(&out);
    refused(
        &["lm", "finetune", tuned.to_str().unwrap(), "--out", out.to_str().unwrap()],
        &["RUN must be a run of models as they were", "last=1"],
    );
    assert_eq!(only_run(&out), tuned);
    // Its adapters belong to it, as they were tuned.
    let weights = tuned.join("adapter/adapter_model.safetensors");
    let good = std::fs::read(&weights).unwrap();
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 0x40;
    std::fs::write(&weights, changed).unwrap();
    refused(
        &["lm", "tdnv", tuned.to_str().unwrap()],
        &["adapter: its adapters must be those of checkpoint.safetensors"],
    );
    std::fs::write(&weights, good).unwrap();
    // Compared is what was tuned with the run that it was tuned from.
    let compared = root.path().join("compared");
    let compare = |runs: [&Path; 2], words: &[&str]| {
        let [one, other] = runs.map(|run| run.to_str().unwrap());
        refused(&["lm", "compare", one, other, "--out", compared.to_str().unwrap()], words);
        assert!(!compared.exists());
    };
    compare([&tuned, &run], &["the first run must be of the model before it was tuned, but its layers"]);
    let (_elsewhere, other) = bitwise_run();
    std::fs::remove_dir_all(&other).unwrap();
    let [model, place] = [golden("smollm2"), other.parent().unwrap().to_owned()];
    let [model, place] = [&model, &place].map(|path| path.to_str().unwrap());
    succeed(&measure("bitwise", model, place, &["--set", "task.bits=3"]));
    compare([&only_run(Path::new(place)), &tuned], &["task.bits must be as in bitwise", "(3), but is 2"]);
    std::fs::remove_file(tuned.join("adapter/adapter_config.json")).unwrap();
    refused(&["lm", "tdnv", tuned.to_str().unwrap()], &["adapter: there must be an adapter_config.json in it"]);
}

#[test]
fn a_folder_that_is_no_run_of_language_models_is_refused() {
    let (_trained, training) = smoke_run();
    let (root, run) = bitwise_run();
    let [training, here] = [training.as_path(), root.path()].map(|path| path.to_str().unwrap());
    refused(
        &["lm", "report", training],
        &["it must be the folder of a run of language models, but is one of a training"],
    );
    refused(&["lm", "tdnv", training], &["but is one of a training"]);
    for command in ["report", "cd", "compare"] {
        refused(&[command, run.to_str().unwrap()], &["is a run of language models", "`lm`"]);
    }
    refused(&["lm", "report", here], &["it must be the folder of a run of language models, but has no config.toml"]);
    let compared = root.path().join("compared");
    let name = run.to_str().unwrap();
    refused(&["lm", "compare", name, training, "--out", compared.to_str().unwrap()], &["is one of a training"]);
    assert!(!compared.exists());
    replace(&run.join("config.toml"), "neighbours = 3", "neighbours = 4");
    for command in [&["lm", "report", name][..], &["lm", "tdnv", name], &["lm", "finetune", name]] {
        refused(command, &["config.toml", "probe.neighbours must be 3, but is 4"]);
    }
}
