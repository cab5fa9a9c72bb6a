//! Every family against `transformers`: the states of every layer, and the logits.

use std::path::{Path, PathBuf};

use kernels::Device;
use probe::{Component, Layer};
use safetensors::SafeTensors;

use crate::ModelFolder;
use crate::model::LanguageModel;
use crate::passes::{Member, Request, RowAt};

/// Largest difference of a prompt's states at a layer, over the largest value there.
const TOLERANCE: f32 = 1e-5;

fn folders() -> Vec<PathBuf> {
    // Folders of other seeds and sizes can be named instead.
    let place = std::env::var("EMERGENCE_GOLDEN").map(PathBuf::from);
    let place = place.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pretrained/golden"));
    let entries = std::fs::read_dir(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// What `transformers` makes of a folder.
pub(crate) struct Golden {
    pub(crate) prompts: Vec<Vec<u32>>,
    /// `[prompts, longest, layers + 1, d_model]`
    hidden: Vec<f32>,
    /// `[prompts, longest, vocabulary]`
    logits: Vec<f32>,
    pub(crate) longest: usize,
}

impl Golden {
    pub(crate) fn read(folder: &Path) -> Self {
        let bytes = std::fs::read(folder.join("golden.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tokens = tensors.tensor("tokens").unwrap();
        let longest = tokens.shape()[1];
        let all: Vec<i64> = tokens.data().as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        let real = |row: &[i64]| row.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        Self {
            prompts: all.chunks(longest).map(real).collect(),
            hidden: floats(&tensors, "hidden"),
            // Not of adapters, whose head is the model's own.
            logits: tensors.tensor("logits").map(|_| floats(&tensors, "logits")).unwrap_or_default(),
            longest,
        }
    }
}

pub(crate) fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = tensors.tensor(name).unwrap();
    tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Largest |a − b| over largest |b|.
pub(crate) fn off(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let most = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs())) / most
}

/// The states of every token at every layer, `[layers + 1][prompts]`, and the logits, `[prompts]`.
pub(crate) fn ours(model: &LanguageModel<'_>, prompts: &[Vec<u32>]) -> (Vec<Vec<Vec<f32>>>, Vec<Vec<f32>>) {
    let folder = model.folder;
    let places = |(number, prompt): (usize, &Vec<u32>)| {
        (0..prompt.len()).map(move |position| RowAt { of: Member::Sequence(number), position })
    };
    let reads: Vec<RowAt> = prompts.iter().enumerate().flat_map(places).collect();
    let layers = (0..=folder.config.n_layers).map(|layer| (Component::Residual, Layer(layer))).collect();
    let request = Request { sequences: prompts.to_vec(), last: reads.clone(), reads, layers, ..Request::default() };
    let by_prompt = |values: &[f32], width: usize| {
        let mut rest = values;
        let take = |prompt: &Vec<u32>| rest.split_off(..prompt.len() * width).unwrap().to_vec();
        prompts.iter().map(take).collect::<Vec<_>>()
    };
    let mut hidden = Vec::new();
    let passed = model
        .pass(&request, &|_, _| true, &mut |states| {
            hidden.push(by_prompt(&states.values, folder.config.d_model));
            Ok(())
        })
        .unwrap();
    (hidden, by_prompt(&model.logits(&passed.last).unwrap(), folder.config.vocabulary))
}

/// How far a model's states are from those of `transformers`.
pub(crate) fn states_off(model: &LanguageModel<'_>, golden: &Golden) -> f32 {
    let (hidden, _) = ours(model, &golden.prompts);
    let (d, layers) = (model.config().d_model, hidden.len());
    let mut most = 0.0f32;
    for (number, prompt) in golden.prompts.iter().enumerate() {
        for (layer, hidden) in hidden.iter().enumerate() {
            let row = |token: usize| ((number * golden.longest + token) * layers + layer) * d;
            let expected: Vec<f32> =
                (0..prompt.len()).flat_map(|token| &golden.hidden[row(token)..row(token) + d]).copied().collect();
            most = most.max(off(&hidden[number], &expected));
        }
    }
    most
}

fn check(device: Device) {
    let folders = folders();
    assert!(folders.len() >= 8, "a folder of every family at least");
    let mut worst = Vec::new();
    for path in folders {
        let folder = ModelFolder::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let golden = Golden::read(&path);
        let (model, vocabulary) = (LanguageModel::new(&folder, device), folder.config.vocabulary);
        let mut most = states_off(&model, &golden);
        let (_, logits) = ours(&model, &golden.prompts);
        for (number, prompt) in golden.prompts.iter().enumerate() {
            let first = number * golden.longest * vocabulary;
            most = most.max(off(&logits[number], &golden.logits[first..first + prompt.len() * vocabulary]));
        }
        worst.push((path.file_name().unwrap().to_string_lossy().into_owned(), most));
    }
    assert!(worst.iter().all(|(_, off)| *off <= TOLERANCE), "{worst:#?}");
}

#[test]
fn every_family_has_the_states_and_logits_of_transformers() {
    check(Device::Flex);
}

#[test]
fn so_it_has_in_ordinary_operations() {
    check(Device::NdArray);
}

/// A prompt's states do not depend on what passes beside it.
#[test]
fn prompts_together_are_what_each_is_alone() {
    const ALONE: f32 = 1e-6;
    for path in folders() {
        let folder = ModelFolder::open(&path).unwrap();
        let (model, prompts) = (LanguageModel::new(&folder, Device::Flex), Golden::read(&path).prompts);
        let (together, _) = ours(&model, &prompts);
        for (number, prompt) in prompts.iter().enumerate() {
            let (alone, _) = ours(&model, std::slice::from_ref(prompt));
            for (layer, alone) in alone.iter().enumerate() {
                let off = off(&together[layer][number], &alone[0]);
                assert!(off <= ALONE, "{}: prompt {number}, layer {layer}: {off}", path.display());
            }
        }
    }
}
