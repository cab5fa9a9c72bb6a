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
        "architectures": ["GPT2Model"],
        "activation_function": "gelu_new",
        "n_embd": architecture.d_model,
        "n_head": architecture.n_heads,
        "n_layer": architecture.n_layers,
        "n_positions": architecture.seq_len(),
        "layer_norm_epsilon": crate::block::NORM_EPSILON,
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
