//! A folder of weights that is damaged, or of no model that there is code for, is refused in one sentence.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

use crate::lm::{golden, measure};
use crate::lm_refusals::{refused, replace};
use crate::program::{copy_of, files};

/// A copy of a tiny model that `damage` was done to.
fn damaged(name: &str, damage: impl FnOnce(&Path)) -> TempDir {
    let root = copy_of(&files(&golden(name)));
    damage(root.path());
    root
}

/// A tensor of a file: its name, type, shape and bytes.
type Tensor = (String, Dtype, Vec<usize>, Vec<u8>);

/// Changes the tensors of a folder's only file.
fn change_tensors(folder: &Path, change: impl FnOnce(&mut Vec<Tensor>)) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let owned =
        |(name, view): (String, TensorView<'_>)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec());
    let mut tensors: Vec<Tensor> = all.tensors().into_iter().map(owned).collect();
    change(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The tensor whose name ends so.
fn tensor<'a>(tensors: &'a mut [Tensor], end: &str) -> &'a mut Tensor {
    tensors.iter_mut().find(|(name, ..)| name.ends_with(end)).unwrap()
}

fn truncate(path: &Path, len: impl FnOnce(usize) -> usize) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..len(bytes.len())]).unwrap();
}

#[test]
fn a_folder_that_is_no_whole_model_is_refused() {
    type Damage = fn(&Path);
    type Case<'a> = (&'a str, Box<dyn Fn(&Path)>, &'a [&'a str]);
    let remove = |name: &'static str| move |folder: &Path| std::fs::remove_file(folder.join(name)).unwrap();
    let cases: Vec<Case<'_>> = vec![
        ("smollm2", Box::new(remove("config.json")), &["there must be a config.json"]),
        ("smollm2", Box::new(remove("tokenizer.json")), &["there must be a tokenizer.json"]),
        ("smollm2", Box::new(remove("model.safetensors")), &["model.safetensors or a model.safetensors.index.json"]),
        (
            "olmo2-sharded",
            Box::new(remove("model-00002-of-00004.safetensors")),
            &["model.safetensors.index.json", "model-00002-of-00004.safetensors is not there"],
        ),
        (
            "olmo2-sharded",
            Box::new(
                (|folder| replace(&folder.join("model.safetensors.index.json"), "00001-of", "00002-of")) as Damage,
            ),
            &["model.safetensors.index.json", "must be in model-00002-of-00004.safetensors, but is not there"],
        ),
        (
            "smollm2",
            Box::new((|folder| replace(&folder.join("config.json"), "\"llama\"", "\"mamba\"")) as Damage),
            &["config.json: model_type must be one of llama, mistral, qwen2", "gpt_neox, but is \"mamba\""],
        ),
        (
            "smollm2",
            Box::new(
                (|folder| replace(&folder.join("config.json"), "\"hidden_size\": 24", "\"hidden_size\": 0")) as Damage,
            ),
            &["config.json: hidden_size must be a whole number above 0", "but is 0"],
        ),
        (
            "smollm2",
            Box::new((|folder| std::fs::write(folder.join("config.json"), b"{\"a\": \"\xe9\"}").unwrap()) as Damage),
            &["config.json: it must be a JSON object, but"],
        ),
        (
            "smollm2",
            Box::new((|folder| truncate(&folder.join("tokenizer.json"), |len| len / 2)) as Damage),
            &["tokenizer.json: it must be a tokenizer: "],
        ),
        (
            "smollm2",
            Box::new(
                (|folder| {
                    let added = "\"added_tokens\":[{\n   \"id\": 300,\n   \"content\": \"<x>\", \"single_word\": false, \
                    \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true},";
                    replace(&folder.join("tokenizer.json"), "\"added_tokens\":[", added);
                }) as Damage,
            ),
            &["tokenizer.json: it must be the tokenizer of this model, which has 128 tokens, but it has"],
        ),
        (
            "smollm2",
            Box::new((|folder| truncate(&folder.join("model.safetensors"), |_| 100)) as Damage),
            &["model.safetensors: it must be a whole safetensors file, but ends in its header"],
        ),
        (
            "smollm2",
            Box::new((|folder| truncate(&folder.join("model.safetensors"), |len| len - 10)) as Damage),
            &["model.safetensors: it must be a whole safetensors file, but has", "bytes instead of"],
        ),
        (
            "smollm2",
            Box::new((|folder| truncate(&folder.join("model.safetensors"), |_| 3)) as Damage),
            &["model.safetensors", "has only 3 bytes"],
        ),
        (
            "smollm2",
            Box::new(
                (|folder| {
                    change_tensors(folder, |all| {
                        all.retain(|(name, ..)| !name.ends_with("layers.1.mlp.up_proj.weight"))
                    });
                }) as Damage,
            ),
            &["the tensor model.layers.1.mlp.up_proj.weight is missing"],
        ),
        (
            "smollm2",
            Box::new(
                (|folder| {
                    change_tensors(folder, |all| {
                        let surplus = all[0].clone();
                        all.push(("model.layers.0.mlp.side_proj.weight".to_owned(), surplus.1, surplus.2, surplus.3));
                    });
                }) as Damage,
            ),
            &["the tensor model.layers.0.mlp.side_proj.weight belongs to no part of a llama model"],
        ),
        (
            "smollm2",
            Box::new(
                (|folder| {
                    change_tensors(folder, |all| tensor(all, "layers.2.mlp.down_proj.weight").2.reverse());
                }) as Damage,
            ),
            &["the tensor model.layers.2.mlp.down_proj.weight must have the shape [24, 32], but has [32, 24]"],
        ),
        (
            "smollm2",
            Box::new(
                (|folder| {
                    change_tensors(folder, |all| {
                        let (_, dtype, shape, bytes) = tensor(all, "model.norm.weight");
                        (*dtype, *bytes) = (Dtype::I8, vec![1; shape[0]]);
                    });
                }) as Damage,
            ),
            &["the tensor model.norm.weight must be F32, F16 or BF16, but is I8"],
        ),
    ];
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("runs");
    for (name, damage, words) in cases {
        let model = damaged(name, damage);
        let path = model.path().to_str().unwrap();
        refused(&["lm", "check", path], &[words, &[path]].concat());
        refused(&measure("bitwise", path, out.to_str().unwrap(), &[]), words);
        assert!(!out.exists(), "{words:?}");
    }
    let model = golden("smollm2");
    let many = ["lm", "check", model.to_str().unwrap(), "--tokens", "513"];
    refused(&many, &["--tokens must be at most the model's positions (512), but is 513"]);
    refused(&["lm", "check", "/nowhere"], &["/nowhere: it must be a folder with config.json"]);
}

#[test]
fn states_that_are_no_numbers_are_no_result() {
    let place = tempfile::tempdir().unwrap();
    let [out, prompts] = ["runs", "prompts.jsonl"].map(|name| place.path().join(name));
    std::fs::write(&prompts, "{\"text\": \"the cat\"}\n").unwrap();
    let model = damaged("smollm2", |folder| {
        change_tensors(folder, |all| {
            let (.., bytes) = tensor(all, "layers.2.mlp.down_proj.weight");
            // The largest of bf16: finite, but no sum of them is.
            bytes.as_chunks_mut().0.iter_mut().for_each(|bytes| *bytes = 0x7f7f_u16.to_le_bytes());
        });
    });
    let [path, prompts] = [model.path(), &prompts].map(|path| path.to_str().unwrap());
    let words = ["every state at layer 3 must be finite, but is"];
    refused(&measure("bitwise", path, out.to_str().unwrap(), &[]), &words);
    let states = place.path().join("states.npz");
    refused(&["lm", "states", "--model", path, "--prompts", prompts, "--out", states.to_str().unwrap()], &words);
    assert!(!out.exists() && !states.exists());
}

#[test]
fn weights_that_are_no_numbers_are_refused_when_they_are_read() {
    let place = tempfile::tempdir().unwrap();
    let [out, prompts] = ["runs", "prompts.jsonl"].map(|name| place.path().join(name));
    std::fs::write(&prompts, "{\"text\": \"the cat\"}\n").unwrap();
    for name in ["layers.2.mlp.down_proj.weight", "embed_tokens.weight", "model.norm.weight"] {
        let model = damaged("smollm2", |folder| {
            change_tensors(folder, |all| {
                let (_, dtype, _, bytes) = tensor(all, name);
                assert_eq!(*dtype, Dtype::BF16);
                // Every one, so that it is among those that are read.
                bytes.as_chunks_mut().0.iter_mut().for_each(|bytes| *bytes = 0x7fc0_u16.to_le_bytes());
            });
        });
        let [path, prompts] = [model.path(), &prompts].map(|path| path.to_str().unwrap());
        let words = [name, "must be finite"];
        refused(&measure("bitwise", path, out.to_str().unwrap(), &[]), &words);
        let states = place.path().join("states.npz");
        refused(&["lm", "states", "--model", path, "--prompts", prompts, "--out", states.to_str().unwrap()], &words);
        assert!(!out.exists() && !states.exists(), "{name}");
        // A run that is there already keeps what it has.
        let run = out.with_file_name("there");
        std::fs::create_dir(&run).unwrap();
        refused(&measure("bitwise", path, run.to_str().unwrap(), &[]), &words);
        assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
        std::fs::remove_dir(&run).unwrap();
    }
}
