//! Adapters against PEFT: the loss, the gradient of every factor, and the states of a model with adapters merged in.

use std::path::Path;

use burn::backend::NdArray;
use burn_flex::Flex;
use kernels::{Device, Kernels};
use safetensors::SafeTensors;

use super::checkpoint::TuningState;
use super::fixtures::{folder, golden};
use super::resident::Resident;
use super::tuner::Tuner;
use super::*;
use crate::golden_tests::{Golden, floats, off, states_off};
use crate::model::LanguageModel;

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

fn check_gradients<B: Kernels>() {
    for name in WITH_ADAPTERS {
        let (model, path) = (folder(name), golden(name).join("lora"));
        let adapters = Adapters::read(&path, &model.config).unwrap();
        let examples = examples(&path);
        examples.iter().for_each(|example| example.check(model.config.vocabulary).unwrap());
        let device = B::Device::default();
        let resident = Resident::<B>::read(&model.config, &model.tensors, true, &device).unwrap();
        let tuner = Tuner::new(resident, TuningState::new(adapters.clone()), 1.0, 0, &device);
        let found = tuner.gradients(0, &examples);

        let bytes = std::fs::read(path.join("golden.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let loss = f64::from(floats(&tensors, "loss")[0]);
        assert!((found.loss / loss - 1.0).abs() <= f64::from(TOLERANCE), "{name}: {} against {loss}", found.loss);
        for (factors, pair) in adapters.factors.iter().zip(&found.pairs) {
            let gradient = super::adapter::Factors::download(&factors.place, pair, model.config.d_head);
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
