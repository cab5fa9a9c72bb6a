//! Adapters on disk, in the format of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::HashMap;
use std::path::Path;

use record::write_together;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Map, Value, json};

use super::adapter::{AdapterConfig, Adapters, Factors, target_names};
use crate::PretrainedError;
use crate::folder::{DecoderConfig, Expected, Settings, Tensors};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// Fields of `adapter_config.json` that ask for what is not done here; each must be absent, null, false or empty.
const UNSUPPORTED: [&str; 18] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "exclude_modules",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
    "velora_config",
    "kasa_config",
];

impl Adapters {
    /// Reads adapters of a model.
    ///
    /// # Errors
    /// When a file is missing or damaged, asks for another kind of adapter than plain LoRA on linear maps, or belongs to
    /// another model.
    pub fn read(folder: &Path, model: &DecoderConfig) -> Result<Self, PretrainedError> {
        let place = |name: &str| {
            let path = folder.join(name);
            let missing = || PretrainedError::file(folder, format!("there must be an {name} in it"));
            if path.is_file() { Ok(path) } else { Err(missing()) }
        };
        let path = place(CONFIG)?;
        let text = std::fs::read_to_string(&path).map_err(|error| PretrainedError::io("read", &path, error))?;
        let fields = serde_json::from_str::<Map<String, Value>>(&text)
            .map_err(|error| PretrainedError::file(&path, format!("it must be a JSON object, but {error}")))?;
        let fields = Settings::new(&path, fields);
        let config = config(&fields, model)?;
        let base = fields.get("base_model_name_or_path").and_then(Value::as_str).unwrap_or_default().to_owned();
        let file = place(TENSORS)?;
        let tensors = Tensors::of_file(&file)?;
        let expected = Self::expected(&config, model);
        if let Some(name) = tensors.without(&file, &expected)?.first() {
            return Err(PretrainedError::file(&file, format!("the tensor {name} belongs to no map of {CONFIG}")));
        }
        let values = |Expected { name, .. }: &Expected| tensors.read(name);
        Ok(Self::from_values(config, base, model, &expected.iter().map(values).collect::<Result<Vec<_>, _>>()?))
    }

    /// Writes both files, or neither.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self, folder: &Path, model: &DecoderConfig) -> Result<(), PretrainedError> {
        let files = self.files(model);
        let files: Vec<_> = files.iter().map(|(name, bytes)| (folder.join(name), bytes)).collect();
        Ok(write_together(&files)?)
    }

    /// The content of both files.
    pub(crate) fn files(&self, model: &DecoderConfig) -> [(&'static str, Vec<u8>); 2] {
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        [(CONFIG, self.config_json(model).into_bytes()), (TENSORS, to_bytes(&self.tensors(), format))]
    }

    /// Adapters from their tensors in the order of [`expected`](Self::expected).
    pub(crate) fn from_values(config: AdapterConfig, base: String, model: &DecoderConfig, values: &[Vec<f32>]) -> Self {
        let pairs = config.places(model).into_iter().zip(values.chunks_exact(2));
        let factors = pairs.map(|(place, pair)| Factors { place, down: pair[0].clone(), up: pair[1].clone() });
        Self { factors: factors.collect(), config, base }
    }

    /// Every tensor with its name and shape.
    pub(crate) fn tensors(&self) -> Vec<(String, [usize; 2], &[f32])> {
        let rank = self.config.rank;
        let of = |factors| {
            let Factors { place, down, up }: &Factors = factors;
            let [of_down, of_up] = place.tensor_names();
            [(of_down, [rank, place.inputs], &down[..]), (of_up, [place.outputs, rank], &up[..])]
        };
        self.factors.iter().flat_map(of).collect()
    }

    fn config_json(&self, model: &DecoderConfig) -> String {
        let AdapterConfig { rank, alpha, dropout, targets, layers } = &self.config;
        // Whole where it is: PEFT's type for it is an integer.
        let alpha = if alpha.fract() == 0.0 { json!(*alpha as i64) } else { json!(alpha) };
        let layers = if layers.len() == model.n_layers { Value::Null } else { json!(layers) };
        let fields = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "r": rank,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "target_modules": targets,
            "layers_to_transform": layers,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "modules_to_save": null,
            "use_dora": false,
            "use_rslora": false,
        });
        format!("{fields:#}\n")
    }
}

/// A safetensors file.
pub(crate) fn to_bytes(tensors: &[(String, [usize; 2], &[f32])], metadata: HashMap<String, String>) -> Vec<u8> {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let bytes: Vec<_> = tensors.iter().map(|(name, shape, values)| (name, shape, bytes(values))).collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("as many numbers as the shape says"))
    });
    serialize(views, Some(metadata)).expect("tensors of different names")
}

/// What `adapter_config.json` asks for.
fn config(fields: &Settings, model: &DecoderConfig) -> Result<AdapterConfig, PretrainedError> {
    if fields.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(fields.refused("peft_type", "\"LORA\""));
    }
    let text_is_one_of = |field: &str, accepted: &[&str]| match fields.get(field) {
        Some(value) if !value.as_str().is_some_and(|text| accepted.contains(&text)) => {
            let accepted: Vec<_> = accepted.iter().map(|text| format!("{text:?}")).collect();
            Err(fields.refused(field, format!("{} or null", accepted.join(", "))))
        }
        _ => Ok(()),
    };
    text_is_one_of("task_type", &["CAUSAL_LM"])?;
    text_is_one_of("bias", &["none"])?;
    text_is_one_of("layers_pattern", &["layers"])?;
    // Other ways to begin, which are texts, also change the model's own weights.
    if fields.get("init_lora_weights").is_some_and(|value| value.as_str().is_some_and(|way| way != "gaussian")) {
        return Err(fields.refused("init_lora_weights", "true, false or \"gaussian\""));
    }
    if let Some(field) = UNSUPPORTED.into_iter().find(|field| !is_idle(fields, field)) {
        return Err(fields.refused(field, "null, false or empty, since only plain LoRA is supported"));
    }
    let rank = fields.get("r").and_then(Value::as_u64).filter(|rank| (1..=1 << 16).contains(rank));
    let alpha = fields.get("lora_alpha").and_then(Value::as_f64).filter(|alpha| *alpha > 0.0);
    let dropout = fields.get("lora_dropout").map_or(Some(0.0), Value::as_f64).filter(|p| (0.0..1.0).contains(p));
    Ok(AdapterConfig {
        rank: rank.ok_or_else(|| fields.refused("r", "a whole number between 1 and 65536"))? as usize,
        alpha: alpha.ok_or_else(|| fields.refused("lora_alpha", "a number above 0"))?,
        dropout: dropout.ok_or_else(|| fields.refused("lora_dropout", "at least 0 and below 1"))?,
        targets: targets(fields, model)?,
        layers: layers(fields, model.n_layers)?,
    })
}

fn is_idle(fields: &Settings, field: &str) -> bool {
    match fields.get(field) {
        None | Some(Value::Bool(false)) => true,
        Some(Value::Object(inside)) => inside.is_empty(),
        Some(Value::Array(values)) => values.is_empty(),
        Some(_) => false,
    }
}

fn targets(fields: &Settings, model: &DecoderConfig) -> Result<Vec<String>, PretrainedError> {
    let known = target_names(model);
    let named = |value: &Value| value.as_str().filter(|name| known.contains(name)).map(str::to_owned);
    let found = match fields.get("target_modules") {
        Some(Value::String(all)) if all == "all-linear" => Some(known.iter().map(ToString::to_string).collect()),
        Some(Value::Array(names)) => names.iter().map(named).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let range = || format!("some of {}", known.join(", "));
    let mut found = found.filter(|found| !found.is_empty()).ok_or_else(|| fields.refused("target_modules", range()))?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn layers(fields: &Settings, n_layers: usize) -> Result<Vec<usize>, PretrainedError> {
    let number = |value: &Value| value.as_u64().map(|layer| layer as usize).filter(|layer| *layer < n_layers);
    let found = match fields.get("layers_to_transform") {
        None => Some((0..n_layers).collect()),
        Some(Value::Array(layers)) => layers.iter().map(number).collect::<Option<Vec<_>>>(),
        Some(layer) => number(layer).map(|layer| vec![layer]),
    };
    let range = || format!("null, or numbers of layers from 0 to {}", n_layers - 1);
    let mut found =
        found.filter(|found| !found.is_empty()).ok_or_else(|| fields.refused("layers_to_transform", range()))?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::fixtures::{folder, golden};

    const WITH_ADAPTERS: [&str; 2] = ["smollm2", "pythia-f16"];

    #[test]
    fn what_was_read_is_written_as_it_was() {
        for name in WITH_ADAPTERS {
            let model = folder(name).config;
            let adapters = Adapters::read(&golden(name).join("lora"), &model).unwrap();
            assert_eq!((adapters.config.rank, adapters.config.scale(), &adapters.base[..]), (4, 2.0, name));
            let place = tempfile::tempdir().unwrap();
            adapters.write(place.path(), &model).unwrap();
            assert_eq!(Adapters::read(place.path(), &model).unwrap(), adapters);
            let bytes = |folder: &Path| std::fs::read(folder.join(TENSORS)).unwrap();
            assert!(bytes(place.path()) == bytes(&golden(name).join("lora")), "{name}");
        }
    }

    /// What reading says when some fields are others.
    fn refusal(changes: &[(&str, Value)]) -> String {
        let place = tempfile::tempdir().unwrap();
        let from = golden("smollm2").join("lora");
        std::fs::copy(from.join(TENSORS), place.path().join(TENSORS)).unwrap();
        let text = std::fs::read_to_string(from.join(CONFIG)).unwrap();
        let mut fields: Map<String, Value> = serde_json::from_str(&text).unwrap();
        fields.extend(changes.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
        std::fs::write(place.path().join(CONFIG), serde_json::to_string(&fields).unwrap()).unwrap();
        Adapters::read(place.path(), &folder("smollm2").config).unwrap_err().to_string()
    }

    #[test]
    fn other_kinds_and_other_models_are_refused_in_a_sentence() {
        let cases = [
            ("peft_type", json!("IA3"), "peft_type must be \"LORA\", but is \"IA3\""),
            ("use_dora", json!(true), "use_dora must be null, false or empty"),
            ("use_rslora", json!(true), "use_rslora must be"),
            ("modules_to_save", json!(["lm_head"]), "modules_to_save must be"),
            ("rank_pattern", json!({"q_proj": 2}), "rank_pattern must be"),
            ("init_lora_weights", json!("pissa"), "init_lora_weights must be true, false or \"gaussian\""),
            ("bias", json!("all"), "bias must be \"none\" or null, but is \"all\""),
            ("r", json!(0), "r must be a whole number between 1 and 65536, but is 0"),
            ("lora_alpha", json!(-1), "lora_alpha must be a number above 0, but is -1"),
            ("lora_dropout", json!(1.0), "lora_dropout must be at least 0 and below 1, but is 1.0"),
            ("target_modules", json!(["dense"]), "target_modules must be some of q_proj, k_proj"),
            (
                "layers_to_transform",
                json!([0, 3]),
                "layers_to_transform must be null, or numbers of layers from 0 to 2",
            ),
            ("r", json!(8), "lora_A.weight must have the shape [8, "),
            ("layers_to_transform", json!([0, 1, 2]), "model.layers.2.self_attn.q_proj.lora_A.weight is missing"),
            ("layers_to_transform", json!([0]), "belongs to no map of adapter_config.json"),
        ];
        for (field, value, words) in cases {
            let found = refusal(&[(field, value)]);
            assert!(found.contains(words), "{found}");
        }
    }

    #[test]
    fn damaged_and_missing_files_are_named() {
        let model = folder("smollm2").config;
        let place = tempfile::tempdir().unwrap();
        let read = || Adapters::read(place.path(), &model).unwrap_err().to_string();
        assert!(read().contains("there must be") && read().contains(CONFIG));
        std::fs::write(place.path().join(CONFIG), "{").unwrap();
        assert!(read().contains("it must be a JSON object, but"));
        let from = golden("smollm2").join("lora");
        std::fs::copy(from.join(CONFIG), place.path().join(CONFIG)).unwrap();
        assert!(read().contains("there must be an") && read().contains(TENSORS));
        let bytes = std::fs::read(from.join(TENSORS)).unwrap();
        std::fs::write(place.path().join(TENSORS), &bytes[..bytes.len() - 8]).unwrap();
        assert!(read().contains("it must be a whole safetensors file, but"));
    }
}
