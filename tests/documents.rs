//! The commands that the documents show are commands of the program, with the options they are shown with.

use std::path::{Path, PathBuf};

use run::{Config, Source, Sweep};

use crate::program::{smoke_run, succeed};

const DOCUMENTS: [&str; 12] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/cluster.md",
    "docs/custom-tasks.md",
    "docs/experiments.md",
    "docs/gpu.md",
    "docs/methods.md",
    "docs/parts-of-speech.md",
    "docs/pretrained.md",
    "docs/run-folder.md",
    "docs/serve.md",
    "docs/settings.md",
];

/// What stands behind `cargo run -p PROGRAM … --` in the documents, split into words as a shell does.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for part in line.split("cargo run -p ").skip(1) {
                let command = part.split(['`', '|', '&', ';']).next().unwrap();
                let program = command.split_whitespace().next().unwrap_or_default();
                let Some((_, arguments)) = command.split_once(" -- ") else { continue };
                if ["trainer", "analysis", "emergence"].contains(&program) {
                    found.push((format!("{document}: {line}"), words(arguments)));
                }
            }
        }
    }
    assert!(found.len() > 30, "the documents show {} commands", found.len());
    found
}

fn words(text: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for letter in text.trim().chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty() && word != "\\");
    words
}

/// A preset, or a file from the root of the repository.
fn source(name: &str) -> Source {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if path.is_file() { Source::File(path) } else { Source::named(name) }
}

/// Whether a name stands for something of the reader's own.
fn is_placeholder(name: &str) -> bool {
    name.contains("my-") || ["RUN", "NAME", "PRESET", "FILE"].iter().any(|word| name.contains(word))
}

/// The values of `--set` and `--seed`.
fn sets(arguments: &[String]) -> Vec<String> {
    let pairs = arguments.windows(2);
    pairs
        .filter_map(|pair| match pair[0].as_str() {
            "--set" => Some(pair[1].clone()),
            "--seed" => Some(format!("seed={}", pair[1])),
            _ => None,
        })
        .collect()
}

#[test]
fn every_setting_has_its_row() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
    for preset in ["base", "quickstart"] {
        let config = Config::resolve(&Source::named(preset), &[]).unwrap();
        for field in config.fields().into_keys().filter(|field| !["version", "task.kind"].contains(&field.as_str())) {
            // A table in one row is that of its whole field.
            let named = |field: &str| rows.iter().any(|row| row.contains(&format!("`{field}`")));
            let whole = field.match_indices('.').skip(1).map(|(end, _)| &field[..end]);
            assert!(named(&field) || whole.into_iter().any(named), "docs/settings.md has no row of {field}");
        }
    }
}

#[test]
fn what_the_documents_show_can_be_typed() {
    let (_root, run) = smoke_run();
    let run = run.to_str().unwrap();
    let place = tempfile::tempdir().unwrap();
    let noisy = place.path().join("noisy.toml");
    std::fs::write(&noisy, "task.noise_variance = 0.5").unwrap();
    let noisy = noisy.to_str().unwrap();
    for (line, arguments) in commands() {
        if arguments[0] == "COMMAND" {
            continue;
        }
        // What asks for help is read to the end, and refused where it has an option that is not there.
        // This build has no GPU.
        let here = |word| if word == "cuda" { "auto" } else { word };
        let read: Vec<&str> = arguments.iter().map(|word| here(word.as_str())).chain(["--help"]).collect();
        succeed(&read);
        match arguments[0].as_str() {
            "train" | "show" | "bench" if arguments.get(1).is_some_and(|name| !is_placeholder(name)) => {
                let config = Config::resolve(&source(&arguments[1]), &sets(&arguments));
                let config = config.unwrap_or_else(|error| panic!("{line}: {error}"));
                // What another program draws takes that program.
                if !arguments.contains(&"--allow-process".to_owned()) {
                    config.build(&data::TaskRegistry::builtin()).unwrap_or_else(|error| panic!("{line}: {error}"));
                }
            }
            "sweep" if arguments.get(1).is_some_and(|name| !is_placeholder(name)) => {
                let sweep = Sweep::resolve(&source(&arguments[1]), &sets(&arguments));
                drop(sweep.unwrap_or_else(|error| panic!("{line}: {error}")));
            }
            "tasks" => drop(succeed(&["tasks"])),
            command if arguments.get(1).is_some_and(|word| word == "RUN") && command != "finetune" => {
                let mine = |word| if word == "noisy.toml" { noisy } else { word };
                let mut typed: Vec<&str> = arguments.iter().map(|word| mine(word.as_str())).collect();
                typed[1] = run;
                succeed(&typed);
            }
            _ => {}
        }
    }
}
