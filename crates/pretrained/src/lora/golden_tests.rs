//! Adapters against PEFT: the loss, the gradient of every factor, and the states of a model with adapters merged in.

use std::path::Path;

use burn::backend::NdArray;
use burn_flex::Flex;
use kernels::{Device, Kernels};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::adapter::{Factors, target_names};
use super::checkpoint::TuningState;
use super::fixtures::{finetune_config, folder, golden};
use super::resident::{Gradients, Resident};
use super::tuner::Tuner;
use super::*;
use crate::golden_tests::{Golden, floats, off, ours, states_off};
use crate::model::LanguageModel;
use crate::{DecoderConfig, WeightSource};

/// Largest difference of the loss, or of the states of a prompt at a layer, over the largest value there.
const TOLERANCE: f32 = 1e-5;
/// Largest difference of a factor's gradient, over the largest value there. PEFT's own gradients in f32 are up to 4.3e-5
/// from PEFT's in f64: those of queries are small differences of large numbers.
const GRADIENT_TOLERANCE: f32 = 5e-5;

const WITH_ADAPTERS: [&str; 2] = ["smollm2", "pythia-f16"];

/// The prompts of a golden file as examples.
fn examples(path: &Path) -> Vec<Example> {
    let bytes = std::fs::read(path.join("golden.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let whole = |name: &str| -> Vec<i64> {
        let tensor = tensors.tensor(name).unwrap();
        tensor.data().as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
    };
    let longest = tensors.tensor("tokens").unwrap().shape()[1];
    let (tokens, answers) = (whole("tokens"), whole("answers"));
    let example = |(tokens, answers): (&[i64], &[i64])| Example {
        ids: tokens.iter().filter_map(|&id| u32::try_from(id).ok()).collect(),
        answers: (0..longest).filter(|&place| answers[place] == 1).map(|place| place..place + 1).collect(),
    };
    tokens.chunks(longest).zip(answers.chunks(longest)).map(example).filter(|it| !it.answers.is_empty()).collect()
}

fn gradients<B: Kernels>(
    config: &DecoderConfig,
    source: &dyn WeightSource,
    adapters: &Adapters,
    examples: &[Example],
) -> Gradients<B> {
    let device = B::Device::default();
    let resident = Resident::<B>::read(config, source, true, &device).unwrap();
    Tuner::new(resident, TuningState::new(adapters.clone()), 1.0, 0, &device).gradients(0, examples)
}

fn check_gradients<B: Kernels>() {
    for name in WITH_ADAPTERS {
        let (model, path) = (folder(name), golden(name).join("lora"));
        let adapters = Adapters::read(&path, &model.config).unwrap();
        let examples = examples(&path);
        examples.iter().for_each(|example| example.check(model.config.vocabulary).unwrap());
        let found = gradients::<B>(&model.config, &model.tensors, &adapters, &examples);
        let bytes = std::fs::read(path.join("golden.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let loss = f64::from(floats(&tensors, "loss")[0]);
        assert!((found.loss / loss - 1.0).abs() <= f64::from(TOLERANCE), "{name}: {} against {loss}", found.loss);
        for (factors, pair) in adapters.factors.iter().zip(&found.pairs) {
            let gradient = Factors::download(&factors.place, pair, model.config.d_head);
            let names = factors.place.tensor_names();
            for (gradient, name) in [gradient.down, gradient.up].iter().zip(names) {
                let expected = floats(&tensors, &format!("gradients.{name}"));
                let off = off(gradient, &expected);
                assert!(off <= GRADIENT_TOLERANCE, "{name}: {off}");
            }
        }
    }
}

#[test]
fn loss_and_gradients_are_pefts() {
    check_gradients::<Flex>();
}

#[test]
fn so_they_are_in_ordinary_operations() {
    check_gradients::<NdArray>();
}

#[test]
fn a_model_with_its_adapters_merged_in_has_pefts_states() {
    for name in WITH_ADAPTERS {
        let (folder, path) = (folder(name), golden(name).join("lora"));
        let adapters = Adapters::read(&path, &folder.config).unwrap();
        let golden = Golden::read(&path);
        for device in [Device::Flex, Device::NdArray] {
            let merged = Merged { source: &folder.tensors, adapters: &adapters };
            let model = LanguageModel { folder: &folder, source: &merged, device };
            let off = states_off(&model, &golden);
            assert!(off <= TOLERANCE, "{name} on {device}: {off}");
            assert!(states_off(&LanguageModel::new(&folder, device), &golden) > 100.0 * TOLERANCE);
        }
    }
}

/// Adapters of every map of every block, none of them 0.
fn of_every_map(model: &DecoderConfig, seed: u64) -> Adapters {
    let targets: Vec<String> = target_names(model).iter().map(ToString::to_string).collect();
    let config = FinetuneConfig { targets, dropout: 0.0, ..finetune_config() }.adapters(model).unwrap();
    let mut adapters = Adapters::new(seed, config, model, "");
    for Factors { down, up, .. } in &mut adapters.factors {
        up.iter_mut().zip(down.iter().cycle()).for_each(|(up, down)| *up = 0.5 * down);
    }
    adapters
}

#[test]
fn adapters_beside_a_map_are_adapters_merged_in() {
    for name in WITH_ADAPTERS {
        let (model, examples) = (folder(name), examples(&golden(name).join("lora")));
        let adapters = of_every_map(&model.config, 1);
        let beside = gradients::<Flex>(&model.config, &model.tensors, &adapters, &examples).loss;
        let merged = Merged { source: &model.tensors, adapters: &adapters };
        let nothing = Adapters::new(2, adapters.config.clone(), &model.config, "");
        let [within, without] = [&merged as &dyn WeightSource, &model.tensors]
            .map(|source| gradients::<Flex>(&model.config, source, &nothing, &examples).loss);
        assert!((beside / within - 1.0).abs() <= f64::from(TOLERANCE), "{name}: {beside} against {within}");
        assert!((beside / without - 1.0).abs() > 1e-3, "{name}: {beside} with and {without} without adapters");
    }
}

/// Writes adapters and the states they make to folders in `EMERGENCE_ADAPTER`, for `tests/pretrained/check_adapter.py`.
#[test]
#[ignore = "writes files"]
fn writes_for_peft() {
    for name in WITH_ADAPTERS {
        let place = Path::new(&std::env::var("EMERGENCE_ADAPTER").unwrap()).join(name);
        let (folder, Golden { prompts, longest, .. }) = (folder(name), Golden::read(&golden(name)));
        let adapters = of_every_map(&folder.config, 1);
        adapters.write(&place, &folder.config).unwrap();
        let merged = Merged { source: &folder.tensors, adapters: &adapters };
        let (hidden, _) = ours(&LanguageModel { folder: &folder, source: &merged, device: Device::Flex }, &prompts);
        let (d, layers) = (folder.config.d_model, hidden.len());
        let mut bytes = [Vec::new(), Vec::new()];
        for (number, prompt) in prompts.iter().enumerate() {
            for token in 0..longest {
                let id = prompt.get(token).map_or(-1, |&id| i64::from(id));
                bytes[0].extend(id.to_le_bytes());
                for layer in &hidden {
                    let row = layer[number].get(token * d..(token + 1) * d).map_or(vec![0.0; d], <[f32]>::to_vec);
                    bytes[1].extend(row.into_iter().flat_map(f32::to_le_bytes));
                }
            }
        }
        let shapes = [vec![prompts.len(), longest], vec![prompts.len(), longest, layers, d]];
        let views = ["tokens", "hidden"].into_iter().zip([Dtype::I64, Dtype::F32]).zip(shapes).zip(&bytes);
        let views = views.map(|(((name, dtype), shape), bytes)| (name, TensorView::new(dtype, shape, bytes).unwrap()));
        let file = safetensors::tensor::serialize(views, None).unwrap();
        std::fs::write(place.join("states.safetensors"), file).unwrap();
    }
}
