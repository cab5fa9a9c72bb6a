//! Weights as safetensors: our own files, and the layout of Hugging Face's GPT-2.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::{Architecture, HostTensor, ModelError, Weights, parameters};

/// Version of the format; files of another one are refused.
const VERSION: u32 = 1;
/// Key of our entry in the safetensors header.
const KEY: &str = "emergence";

/// What `config.json` of [`gpt2`] says of whoever wrote it.
pub const GPT2_MARK: &str = "emergence export model";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    architecture: Architecture,
}

/// The safetensors file of a model (or of one number for each of its parameters), its architecture in the header.
pub fn encode(architecture: &Architecture, weights: &Weights) -> Vec<u8> {
    let header = Header { version: VERSION, architecture: *architecture };
    let json = serde_json::to_string(&header).expect("integers always serialise");
    to_safetensors(weights, (KEY.to_owned(), json))
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// When the bytes are cut short, too long or not safetensors; when the version, a name, a shape or a dtype is not what
/// the architecture in the header asks for.
pub fn decode(bytes: &[u8]) -> Result<(Architecture, Weights), ModelError> {
    let malformed = |error: safetensors::SafeTensorError| ModelError::NotSafetensors { reason: error.to_string() };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let json = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY)).ok_or(header("no such key"))?;
    let found: serde_json::Value = serde_json::from_str(json).map_err(header)?;
    match found.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(ModelError::Version { expected: VERSION, found: version.try_into().unwrap_or(u32::MAX) });
        }
        None => return Err(header("no version")),
    }
    let Header { architecture, .. } = serde_json::from_value(found).map_err(header)?;
    architecture.check()?;
    let tensors = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let weights = tensors.iter().map(from_view).collect::<Result<Weights, _>>()?;
    parameters::check(&architecture, &weights)?;
    Ok((architecture, weights))
}

/// `config.json` and `model.safetensors` of a Hugging Face `GPT2Model` that gives our hidden states from
/// `inputs_embeds`, and the read-in and read-out around it.
///
/// GPT-2 applies the final norm to its last hidden state; the states before it are the residual stream as it is.
pub fn gpt2(architecture: &Architecture, weights: &Weights) -> [(&'static str, Vec<u8>); 3] {
    let config = serde_json::json!({
        "model_type": "gpt2",
        "made_by": GPT2_MARK,
        "architectures": ["GPT2Model"],
        "activation_function": "gelu_new",
        "n_embd": architecture.d_model,
        "n_head": architecture.n_heads,
        "n_layer": architecture.n_layers,
        "n_positions": architecture.seq_len(),
        "layer_norm_epsilon": kernels::NORM_EPSILON,
        "vocab_size": 1,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    });
    let (boundary, mut inside): (Weights, Weights) =
        weights.clone().into_iter().partition(|(name, _)| name.starts_with("read_"));
    inside = inside.into_iter().map(|(name, tensor)| (gpt2_name(&name), tensor)).collect();
    // GPT2Model insists on a word embedding, which inputs_embeds bypasses.
    let d_model = architecture.d_model;
    inside.insert("wte.weight".to_owned(), HostTensor { shape: vec![1, d_model], values: vec![0.0; d_model] });
    let pytorch = || ("format".to_owned(), "pt".to_owned());
    [
        ("config.json", format!("{config:#}\n").into_bytes()),
        ("model.safetensors", to_safetensors(&inside, pytorch())),
        ("read_in_out.safetensors", to_safetensors(&boundary, pytorch())),
    ]
}

fn gpt2_name(name: &str) -> String {
    let renamed = [
        ("blocks.", "h."),
        ("attention_norm", "ln_1"),
        ("query_key_value", "attn.c_attn"),
        ("attention_out", "attn.c_proj"),
        ("feed_forward_norm", "ln_2"),
        ("feed_forward_in", "mlp.c_fc"),
        ("feed_forward_out", "mlp.c_proj"),
        ("final_norm", "ln_f"),
        ("positions", "wpe.weight"),
        ("gamma", "weight"),
        ("beta", "bias"),
    ];
    renamed.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

fn to_safetensors(weights: &Weights, entry: (String, String)) -> Vec<u8> {
    let bytes: Vec<(&String, &HostTensor, Vec<u8>)> = weights
        .iter()
        .map(|(name, tensor)| (name, tensor, tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
        (name, view.expect("a host tensor has as many values as its shape says"))
    });
    safetensors::serialize(views, Some(HashMap::from([entry]))).expect("views of checked tensors always serialise")
}

fn from_view((name, view): (&str, TensorView<'_>)) -> Result<(String, HostTensor), ModelError> {
    if view.dtype() != Dtype::F32 {
        return Err(ModelError::Dtype { name: name.to_owned(), found: format!("{:?}", view.dtype()) });
    }
    let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let values = view.data().chunks_exact(4).map(value).collect();
    Ok((name.to_owned(), HostTensor { shape: view.shape().to_vec(), values }))
}

fn header(reason: impl ToString) -> ModelError {
    ModelError::Header { reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::{Init, Kind, ModelConfig};

    fn model() -> (Architecture, Weights) {
        of(ModelConfig {
            kind: Kind::Transformer,
            d_model: 8,
            n_layers: 1,
            n_heads: 2,
            init: Init::Gpt2,
            read_in_gain: 1.0,
            position_std: 0.02,
            latent: None,
        })
    }

    fn lstm() -> (Architecture, Weights) {
        of(ModelConfig {
            kind: Kind::Lstm,
            d_model: 8,
            n_layers: 2,
            n_heads: 0,
            init: Init::FanIn,
            read_in_gain: 1.0,
            position_std: 0.0,
            latent: None,
        })
    }

    fn of(config: ModelConfig) -> (Architecture, Weights) {
        let architecture = config.architecture(3, 4).unwrap();
        let weights = config.init(&architecture, &mut rand_chacha::ChaCha8Rng::seed_from_u64(0));
        (architecture, weights)
    }

    /// The message for a file that `change` was made to.
    fn refusal(change: impl Fn(&mut Architecture, &mut Weights)) -> String {
        let (mut architecture, mut weights) = model();
        change(&mut architecture, &mut weights);
        decode(&encode(&architecture, &weights)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_to_the_bit() {
        for (architecture, weights) in [model(), lstm()] {
            assert_eq!(decode(&encode(&architecture, &weights)).unwrap(), (architecture, weights));
        }
    }

    /// Programs before there were two kinds read and write the same bytes.
    #[test]
    fn a_transformer_says_nothing_of_its_kind() {
        let says = |(architecture, weights): (Architecture, Weights)| {
            let bytes = encode(&architecture, &weights);
            String::from_utf8_lossy(&bytes[..400]).contains("kind")
        };
        assert!(!says(model()) && says(lstm()));
    }

    #[test]
    fn the_parameter_list_is_that_of_the_module() {
        for (architecture, weights) in [model(), lstm()] {
            let model = crate::Model::<burn_flex::Flex>::new(&architecture, &weights, &burn_flex::FlexDevice).unwrap();
            assert_eq!(model.weights(), weights);
        }
    }

    #[test]
    fn names_and_shapes_are_checked() {
        let cases = [
            ("positions is missing", refusal(|_, weights| drop(weights.remove("positions")))),
            ("extra is not part of the model", refusal(|_, w| drop(w.insert("extra".into(), w["positions"].clone())))),
            ("positions must have shape [10, 8], but has [8, 8]", refusal(|architecture, _| architecture.n_points = 5)),
            ("model.n_heads must be a divisor of model.d_model (8), but is 3", refusal(|a, _| a.n_heads = 3)),
            ("model.d_model must be between 1 and 8192, but is 0", refusal(|a, _| a.d_model = 0)),
        ];
        for (expected, message) in cases {
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn header_version_and_dtype_are_checked() {
        let entry = |version| format!("{{\"version\":{version},\"architecture\":{{}}}}");
        let cases = [
            (to_safetensors(&Weights::new(), (KEY.into(), entry("2"))), "version must be 1, but is 2"),
            (to_safetensors(&Weights::new(), (KEY.into(), entry("\"one\""))), "no version"),
            (to_safetensors(&Weights::new(), (KEY.into(), entry("1"))), "missing field"),
            (to_safetensors(&Weights::new(), (KEY.into(), "[".into())), "EOF"),
            (to_safetensors(&Weights::new(), ("other".into(), entry("1"))), "no such key"),
        ];
        for (bytes, expected) in cases {
            let message = decode(&bytes).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let (architecture, weights) = model();
        let mut integers = encode(&architecture, &weights);
        let dtype = integers.windows(5).position(|window| window == b"\"F32\"").unwrap();
        integers[dtype + 1] = b'I';
        let message = decode(&integers).unwrap_err().to_string();
        assert!(message.contains("must have dtype F32, but has I32"), "{message}");
    }

    #[test]
    fn a_file_cut_anywhere_or_grown_is_refused() {
        let (architecture, weights) = model();
        let bytes = encode(&architecture, &weights);
        for length in (0..bytes.len()).step_by(97) {
            assert!(decode(&bytes[..length]).is_err(), "cut to {length}");
        }
        assert!(decode(&[bytes.as_slice(), &[0; 4]].concat()).is_err());
        let huge_header = [u64::MAX.to_le_bytes().as_slice(), &bytes[8..]].concat();
        assert!(decode(&huge_header).is_err());
    }
}
