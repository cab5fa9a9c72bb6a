//! The commands `lm` on tiny pretrained models: checked, measured, changed, tuned, stopped and compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use tempfile::TempDir;

use crate::program::{Files, check, copy_of, emergence, files, only_run, stderr, succeed, write_files};

/// A model that `tests/pretrained/make.py` made. No command writes to it.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pretrained/golden").join(name)
}

/// How prompts are measured here: few of them, with few demonstrations.
pub(crate) const FEW: [&str; 12] = [
    "--set",
    "task.shots=[0,1,2]",
    "--set",
    "eval.prompts_per_concept=4",
    "--set",
    "probe.prompts_per_concept=6",
    "--set",
    "probe.resamples=2",
    "--set",
    "probe.neighbours=3",
    "--set",
    "probe.folds=3",
];

/// The command that measures `task` on the folder `model`, with runs in `out`.
pub(crate) fn measure<'a>(task: &'a str, model: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut command = vec!["lm", "measure", task, "--model", model, "--out", out];
    command.extend(FEW);
    if task == "bitwise" {
        command.extend(["--set", "task.bits=2"]);
    }
    command.extend(more);
    command
}

/// A run of the task `bitwise` on the tiny SmolLM2, and the folder that it lies in, which goes when it is dropped.
pub(crate) fn bitwise_run() -> (TempDir, PathBuf) {
    static MEASURED: LazyLock<Files> = LazyLock::new(|| {
        let root = tempfile::tempdir().unwrap();
        succeed(&measure("bitwise", golden("smollm2").to_str().unwrap(), root.path().to_str().unwrap(), &[]));
        files(root.path())
    });
    let root = copy_of(&MEASURED);
    let run = only_run(root.path());
    (root, run)
}

/// The tables of a folder and of those in it.
pub(crate) fn tables(run: &Path) -> Files {
    let mut found = files(run);
    found.retain(|path, _| path.extension().is_some_and(|extension| extension == "csv"));
    found
}

/// A table's rows, each with its values by the names of their columns.
pub(crate) fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let columns: Vec<String> = lines.next().unwrap().collect();
    lines.map(|values| columns.iter().cloned().zip(values).collect()).collect()
}

/// The different values of a column.
pub(crate) fn values(rows: &[BTreeMap<String, String>], column: &str) -> Vec<String> {
    let mut values: Vec<String> = rows.iter().map(|row| row[column].clone()).collect();
    values.sort();
    values.dedup();
    values
}

pub(crate) fn assert_same_tables(found: &Path, expected: &Path) {
    let (found, expected) = (tables(found), tables(expected));
    assert!(found.keys().eq(expected.keys()), "{:?} instead of {:?}", found.keys(), expected.keys());
    for (name, bytes) in found {
        assert!(bytes == expected[&name], "{} has other bytes", name.display());
    }
}

#[test]
fn a_folder_of_weights_is_checked() {
    let model = golden("smollm2");
    let model = model.to_str().unwrap();
    let text = succeed(&["lm", "check", model]);
    for words in
        ["llama with", "bf16", "its head is the embedding", "3 blocks of width 24", "600 prompts of 200 tokens"]
    {
        assert!(text.contains(words), "no {words:?} in: {text}");
    }
    let json = succeed(&["lm", "check", model, "--json", "--prompts", "7"]);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected =
        [("layers", 3), ("width", 24), ("heads", 3), ("key_value_heads", 1), ("vocabulary", 128), ("prompts", 7)];
    for (field, value) in expected {
        assert_eq!(found[field], value, "{field}");
    }
    assert!(found["seconds"].as_f64().unwrap() >= 0.0 && found["memory_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn prompts_are_shown_as_text_and_as_tokens() {
    let model = golden("smollm2");
    let shown = succeed(&["lm", "prompts", "bitwise", "--model", model.to_str().unwrap(), "--set", "task.shots=[2]"]);
    let prompts: Vec<&str> = shown.split("== ").skip(1).collect();
    let names: Vec<&str> = prompts.iter().map(|prompt| prompt.lines().next().unwrap()).collect();
    assert_eq!(names, ["AND", "NAND", "OR", "NOR", "XOR", "XNOR"]);
    for prompt in prompts {
        let (text, tokens) = prompt.split_once('\n').unwrap().1.rsplit_once(" tokens: ").unwrap();
        let (text, count) = text.rsplit_once('\n').unwrap();
        let tokens: Vec<String> =
            serde_json::from_str(&format!("[{}]", tokens.trim().replace("\" \"", "\",\""))).unwrap();
        assert_eq!(tokens.len(), count.parse::<usize>().unwrap());
        assert_eq!(tokens.concat(), text);
        assert_eq!(text.matches("Input: ").count(), 3, "{text}");
    }
}

/// The arrays of an `.npz` file, each with its shape and its bytes.
fn arrays(path: &Path) -> Vec<(Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let magic = b"\x93NUMPY\x01\x00";
    let starts = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(magic));
    let read = |start: usize| {
        let header = start + 10 + usize::from(u16::from_le_bytes([bytes[start + 8], bytes[start + 9]]));
        let text = std::str::from_utf8(&bytes[start + 10..header]).unwrap();
        let shape = text.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
        let shape: Vec<usize> = shape.split(',').filter_map(|size| size.trim().parse().ok()).collect();
        let size = if text.contains("<i8") { 8 } else { 4 };
        let len = shape.iter().product::<usize>() * size;
        (shape, bytes[header..header + len].to_vec())
    };
    starts.map(read).collect()
}

#[test]
fn states_are_written_for_the_last_token_of_every_text() {
    let (root, model) = (tempfile::tempdir().unwrap(), golden("smollm2"));
    let [prompts, out] = ["prompts.jsonl", "out/states.npz"].map(|name| root.path().join(name));
    std::fs::write(&prompts, "{\"text\": \"the cat sat on the mat\"}\n\n{\"text\": \"10\", \"other\": 1}\n").unwrap();
    let [model, prompts] = [&model, &prompts].map(|path| path.to_str().unwrap());
    let command = ["lm", "states", "--model", model, "--prompts", prompts, "--out", out.to_str().unwrap()];
    assert_eq!(succeed(&command).trim(), out.to_str().unwrap());
    let found = arrays(&out);
    let longest = found[0].0[1];
    let shapes: Vec<Vec<usize>> = found.iter().map(|(shape, _)| shape.clone()).collect();
    assert_eq!(shapes, [vec![2, longest], vec![2, 3 + 1, 24], vec![2, 128]]);
    let tokens: Vec<i64> = found[0].1.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    assert!(tokens[..longest].iter().all(|id| (0..128).contains(id)));
    // `10` is one token, and the rest of its row is none.
    assert!(tokens[longest] == 112 && tokens[longest + 1..].iter().all(|&id| id == -1) && longest > 1);
    let floats = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>();
    for (_, bytes) in &found[1..] {
        assert!(floats(bytes).iter().all(|value| value.is_finite() && *value != 0.0));
    }
    // Layer 0 of the second text is the row of its only token in the embedding.
    let weights = std::fs::read(golden("smollm2").join("model.safetensors")).unwrap();
    let weights = safetensors::SafeTensors::deserialize(&weights).unwrap();
    let embedding = weights.tensor("model.embed_tokens.weight").unwrap();
    let row: Vec<f32> = embedding.data()[112 * 24 * 2..113 * 24 * 2]
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16))
        .collect();
    assert_eq!(floats(&found[1].1)[4 * 24..5 * 24], row);
    let json = succeed(&[&command[..], &["--json"]].concat());
    let took: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(took["tokens"], tokens.iter().filter(|&&id| id >= 0).count());
}

#[test]
fn a_run_has_its_tables_figures_and_report() {
    let (_root, run) = bitwise_run();
    assert!(run.file_name().unwrap().to_str().unwrap().starts_with("bitwise-"));
    let cd = rows(&run.join("cd.csv"));
    assert_eq!(values(&cd, "token"), ["x1", "x2", "x3"]);
    assert_eq!(values(&cd, "layer"), ["0", "1", "2", "3"]);
    assert!(values(&cd, "probe").iter().any(|probe| probe == "knn"));
    let accuracy = rows(&run.join("accuracy.csv"));
    assert_eq!(values(&accuracy, "shots"), ["0", "1", "2"]);
    assert!(!rows(&run.join("answers.csv")).is_empty());
    let there = files(&run);
    let figures = there.keys().filter(|path| path.starts_with("figures") && path.extension().unwrap() == "svg");
    let figures: Vec<&PathBuf> = figures.collect();
    assert!(figures.len() >= 2 && figures.iter().all(|path| there.contains_key(&path.with_extension("png"))));
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("smollm2") && html.contains("lm measure"), "{html}");
    assert!(!html.contains("src=\"http"), "it opens offline");
    let summary: serde_json::Value =
        serde_json::from_str(&succeed(&["lm", "report", run.to_str().unwrap(), "--json"])).unwrap();
    assert!(summary.is_object(), "{summary}");
}

#[test]
fn what_is_there_is_not_measured_again() {
    let (root, run) = bitwise_run();
    let (before, times) = (tables(&run), modified(&run));
    let model = golden("smollm2");
    let again = measure("bitwise", model.to_str().unwrap(), root.path().to_str().unwrap(), &[]);
    let config = run.join("config.toml");
    let by_its_own = ["lm", "measure", config.to_str().unwrap(), "--out", root.path().to_str().unwrap()];
    for command in [&again[..], &by_its_own] {
        let output = emergence(command).output().unwrap();
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        for name in ["accuracy", "cd"] {
            assert!(said.contains(&format!("{name}: already there")), "{said}");
        }
        assert_eq!(only_run(root.path()), run, "no other folder is made");
        assert!(tables(&run) == before && modified(&run) == times);
    }
    std::fs::remove_file(run.join("cd.csv")).unwrap();
    succeed(&again);
    assert!(tables(&run) == before, "what was deleted is made again");
}

/// When each of a run's tables was written.
pub(crate) fn modified(run: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let time = |name: &PathBuf| std::fs::metadata(run.join(name)).unwrap().modified().unwrap();
    tables(run).into_keys().map(|name| (name.clone(), time(&name))).collect()
}

#[test]
fn measurements_of_a_run_are_added_to_its_report() {
    let (_root, run) = bitwise_run();
    let run_name = run.to_str().unwrap();
    let intervene = ["lm", "intervene", run_name, "--layer", "1,2", "--mean-prompts", "4", "--strengths", "1"];
    succeed(&intervene);
    let found = rows(&run.join("interventions.csv"));
    let layers = values(&found, "layer");
    assert!(["1", "2"].iter().all(|layer| layers.contains(&(*layer).to_owned())), "{layers:?}");
    let before = tables(&run);
    succeed(&intervene);
    assert!(tables(&run) == before, "the same is found again");
    for (command, table) in [("tdnv", "tdnv.csv"), ("map", "map.csv"), ("sites", "cd_sites.csv")] {
        let said = succeed(&["lm", command, run_name]);
        assert!(said.contains(table), "{said}");
        assert!(!rows(&run.join(table)).is_empty(), "{table}");
    }
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    std::fs::remove_file(run.join("report.html")).unwrap();
    succeed(&["lm", "report", run_name]);
    assert!(std::fs::read_to_string(run.join("report.html")).unwrap() == html);
    let made = std::fs::read_to_string(run.join("made.toml")).unwrap();
    assert!(["cd.csv", "interventions.csv", "tdnv.csv", "map.csv"].iter().all(|table| made.contains(table)), "{made}");
}

#[test]
fn neither_the_folder_nor_the_number_of_threads_changes_a_table() {
    let ((_root, expected), model) = (bitwise_run(), golden("smollm2"));
    for threads in ["1", "2"] {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().to_str().unwrap();
        succeed(&measure("bitwise", model.to_str().unwrap(), out, &["--threads", threads]));
        let run = only_run(root.path());
        assert_eq!(run.file_name(), expected.file_name());
        assert_same_tables(&run, &expected);
    }
}

#[test]
fn folders_that_are_steps_of_a_training_are_a_series() {
    let root = tempfile::tempdir().unwrap();
    let models = ["model-step10", "model-step0"].map(|name| root.path().join(name));
    models.iter().for_each(|path| write_files(&files(&golden("smollm2")), path));
    let [last, first] = models.each_ref().map(|path| path.to_str().unwrap());
    let out = root.path().join("runs");
    succeed(&measure("bitwise", last, out.to_str().unwrap(), &["--model", first]));
    let run = only_run(&out);
    for table in ["cd.csv", "accuracy.csv"] {
        let found = rows(&run.join(table));
        assert_eq!(values(&found, "step"), ["0", "10"], "{table}");
        // The same weights give the same numbers.
        let of = |step: &str| {
            // Controls are there at the last step only.
            let of_step =
                found.iter().filter(|row| row["step"] == step && row.get("probe").is_none_or(|it| it == "knn"));
            of_step.cloned().map(|mut row| row.remove("step").map(|_| row)).collect::<Vec<_>>()
        };
        assert_eq!(of("0"), of("10"), "{table}");
    }
    succeed(&["lm", "tdnv", run.to_str().unwrap()]);
}

/// Tagged sentences as in the Brown corpus, each with a word of every class.
pub(crate) fn corpus(path: &Path) {
    let (nouns, adjectives) = (["dog", "king", "ship", "stone", "clerk"], ["old", "red", "small", "wise"]);
    let (verbs, adverbs) = (["saw", "left", "met"], ["slowly", "often"]);
    let mut text = String::new();
    for (i, noun) in nouns.iter().enumerate() {
        for (j, adjective) in adjectives.iter().enumerate() {
            let (verb, adverb) = (verbs[(i + j) % 3], adverbs[j % 2]);
            let line = format!("the/at {adjective}/jj {noun}/nn {adverb}/rb {verb}/vbd him/ppo in/in town/nn ./.\n");
            text.push_str(&line);
        }
    }
    std::fs::write(path, text).unwrap();
}

/// A file with prompts: each of two concepts repeats another one of the input's letters.
pub(crate) fn lines(path: &Path) {
    let mut text = String::new();
    for i in 0..24 {
        for (concept, at) in [("first", 0), ("last", 2)] {
            let pair = |j: usize| {
                let letters: String = (0..3).map(|k| char::from(b'a' + ((i * 7 + j * 5 + k * 3) % 26) as u8)).collect();
                let answer = letters[at..=at].to_owned();
                (letters, answer)
            };
            let [(query, answer), one, two] = [0, 1, 2].map(pair);
            let line = serde_json::json!({
                "concept": concept, "demonstrations": [one, two], "query": query, "answer": answer,
            });
            writeln!(text, "{line}").unwrap();
        }
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn tasks_are_made_from_a_corpus_and_from_lines() {
    let (root, model) = (tempfile::tempdir().unwrap(), golden("qwen2"));
    let model = model.to_str().unwrap();
    let [brown, mine, task] = ["brown", "mine.jsonl", "task.toml"].map(|name| root.path().join(name));
    corpus(&brown);
    lines(&mine);
    let of_lines = format!(
        "extends = \"base\"\nname = \"letters\"\n[task]\nkind = \"file\"\nfile = {mine:?}\nshots = [0]\n\
         template = \"{{input}} -> {{output}}\\n\"\nnull = false\nnamed = false\nplace = \"prompt\"\n"
    );
    std::fs::write(&task, of_lines).unwrap();
    let corpus = format!("task.corpus={}", brown.display());
    let cases: [(&str, &[&str], &[&str]); 2] = [
        ("part-of-speech", &["--set", &corpus], &["adjective", "adverb", "noun", "preposition", "pronoun", "verb"]),
        (task.to_str().unwrap(), &[], &["first", "last"]),
    ];
    for (number, (name, more, concepts)) in cases.into_iter().enumerate() {
        let out = root.path().join(number.to_string());
        succeed(&measure(name, model, out.to_str().unwrap(), more));
        let found = values(&rows(&only_run(&out).join("cd.csv")), "concept");
        assert!(concepts.iter().all(|concept| found.iter().any(|it| it == concept)), "{found:?}");
    }
    let many = [&["lm", "prompts", task.to_str().unwrap(), "--count", "1000"], &FEW[..]].concat();
    check(&many, 2, &["--count must be at most the number of different prompts there are of", "but is 1000"]);
}

#[test]
fn a_report_needs_neither_the_corpus_nor_the_model() {
    let root = tempfile::tempdir().unwrap();
    let [brown, model, out] = ["brown", "model", "out"].map(|name| root.path().join(name));
    corpus(&brown);
    write_files(&files(&golden("smollm2")), &model);
    let set = format!("task.corpus={}", brown.display());
    succeed(&measure("part-of-speech", model.to_str().unwrap(), out.to_str().unwrap(), &["--set", &set]));
    let run = only_run(&out);
    let report = std::fs::read(run.join("report.html")).unwrap();
    std::fs::remove_file(run.join("report.html")).unwrap();
    std::fs::rename(&brown, root.path().join("elsewhere")).unwrap();
    std::fs::remove_dir_all(&model).unwrap();
    succeed(&["lm", "report", run.to_str().unwrap()]);
    assert_eq!(std::fs::read(run.join("report.html")).unwrap(), report);
}
