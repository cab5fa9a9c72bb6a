//! What users of such programs report, a short case each, named by what they saw.

use std::fs;
use std::path::Path;

use crate::lm::{FEW, corpus, golden};
use crate::program::{check, files, only_run, succeed, write_files};

/// Changes the last byte of a file, and gives back what it held.
fn flip_last_byte(path: &Path) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    before
}

#[test]
fn half_of_my_tables_were_of_the_model_before_i_replaced_its_weights() {
    let place = tempfile::tempdir().unwrap();
    let [model, brown, out] = ["model", "brown", "runs"].map(|name| place.path().join(name));
    write_files(&files(&golden("smollm2")), &model);
    corpus(&brown);
    let set = format!("task.corpus={}", brown.display());
    let (folder, root) = (model.to_str().unwrap(), out.to_str().unwrap());
    let mut measure = vec!["lm", "measure", "part-of-speech", "--model", folder, "--out", root, "--set", &set];
    measure.extend(FEW);
    succeed(&measure);
    let run = only_run(&out);
    let accuracy = ["lm", "accuracy", run.to_str().unwrap()];
    let before = files(&run);
    let weights = model.join("model.safetensors");
    for changed in [&weights, &brown] {
        let whole = flip_last_byte(changed);
        let words = [if *changed == brown { "brown" } else { folder }, "its SHA-256 must be", "another name"];
        check(&accuracy, 2, &words);
        check(&measure, 2, &words);
        assert!(files(&run) == before);
        fs::write(changed, whole).unwrap();
    }
    succeed(&accuracy);
}

#[test]
fn my_comparison_was_gone_after_i_edited_the_file_of_the_sweep() {
    let place = tempfile::tempdir().unwrap();
    let [file, out] = ["mine.toml", "runs"].map(|name| place.path().join(name));
    let write = |noises: &str| {
        let text = format!(
            "extends = \"smoke\"\nname = \"mine\"\n[train]\nsteps = 4\n[grid]\ntask.noise_variance = {noises}\n"
        );
        fs::write(&file, text).unwrap();
    };
    let sweep = ["sweep", file.to_str().unwrap(), "--quiet", "--out", out.to_str().unwrap()];
    write("[0.01]");
    succeed(&sweep);
    write("[0.01, 0.5]");
    succeed(&sweep);
    let before = files(&out);
    write("[0.02, 0.5]");
    check(
        &sweep,
        2,
        &["compared.toml", "1 of them are not", "grid.task.noise_variance must be [0.01, 0.5], but is [0.02, 0.5]"],
    );
    assert!(files(&out) == before);
    succeed(&[&sweep[..], &["--force"]].concat());
}
