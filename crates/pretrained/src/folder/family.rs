//! The families of architectures: what is usual in each, and the names of their tensors.

use std::path::Path;

use kernels::Activation;

use super::config::{DecoderConfig, Norm, Placement, QueryKeyNorm};
use crate::PretrainedError;

/// A family of architectures, by what `config.json` calls it in `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama 2, 3, 3.1 and 3.2, and what is built like them, such as SmolLM2.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3.
    Qwen3,
    /// Gemma 2.
    Gemma2,
    /// OLMo.
    Olmo,
    /// OLMo 2.
    Olmo2,
    /// Pythia.
    GptNeoX,
}

/// A tensor of a model by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Embedding,
    FinalNorm,
    Head,
    AttentionNorm,
    AttentionPostNorm,
    Query,
    Key,
    Value,
    /// All three in one, head by head.
    QueryKeyValue,
    QueryNorm,
    KeyNorm,
    AttentionOut,
    FeedForwardNorm,
    FeedForwardPostNorm,
    Gate,
    Up,
    Down,
}

/// A tensor that a model must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

/// What is usual in a family.
pub(super) struct Kind {
    pub(super) norm: Norm,
    pub(super) placement: Placement,
    pub(super) query_key_norm: Option<QueryKeyNorm>,
    pub(super) attention_bias: bool,
    pub(super) activation: Activation,
}

const RMS: Norm = Norm { centred: false, scale: true, shift: false, offset: 0.0, epsilon: 1e-6 };

const OUTSIDE: [(Part, &str); 3] =
    [(Part::Embedding, "model.embed_tokens"), (Part::FinalNorm, "model.norm"), (Part::Head, "lm_head")];

const OUTSIDE_NEOX: [(Part, &str); 3] =
    [(Part::Embedding, "gpt_neox.embed_in"), (Part::FinalNorm, "gpt_neox.final_layer_norm"), (Part::Head, "embed_out")];

const MAPS: [(Part, &str); 7] = [
    (Part::Query, "self_attn.q_proj"),
    (Part::Key, "self_attn.k_proj"),
    (Part::Value, "self_attn.v_proj"),
    (Part::AttentionOut, "self_attn.o_proj"),
    (Part::Gate, "mlp.gate_proj"),
    (Part::Up, "mlp.up_proj"),
    (Part::Down, "mlp.down_proj"),
];

const NORMS: [(Part, &str); 2] =
    [(Part::AttentionNorm, "input_layernorm"), (Part::FeedForwardNorm, "post_attention_layernorm")];

const NORMS_AROUND: [(Part, &str); 4] = [
    (Part::AttentionNorm, "input_layernorm"),
    (Part::AttentionPostNorm, "post_attention_layernorm"),
    (Part::FeedForwardNorm, "pre_feedforward_layernorm"),
    (Part::FeedForwardPostNorm, "post_feedforward_layernorm"),
];

const NORMS_BEHIND: [(Part, &str); 2] =
    [(Part::AttentionPostNorm, "post_attention_layernorm"), (Part::FeedForwardPostNorm, "post_feedforward_layernorm")];

const QUERY_KEY_NORMS: [(Part, &str); 2] = [(Part::QueryNorm, "self_attn.q_norm"), (Part::KeyNorm, "self_attn.k_norm")];

const BLOCK_NEOX: [(Part, &str); 6] = [
    (Part::AttentionNorm, "input_layernorm"),
    (Part::FeedForwardNorm, "post_attention_layernorm"),
    (Part::QueryKeyValue, "attention.query_key_value"),
    (Part::AttentionOut, "attention.dense"),
    (Part::Up, "mlp.dense_h_to_4h"),
    (Part::Down, "mlp.dense_4h_to_h"),
];

/// Ends of names of tensors that older programs stored beside the weights: masks and rotary tables, which follow from the
/// configuration.
const NOT_WEIGHTS: [&str; 4] =
    ["rotary_emb.inv_freq", "attention.bias", "attention.masked_bias", "rotary_emb.cos_cached"];

impl Family {
    /// Every one, with its `model_type`.
    pub const ALL: [(Self, &str); 8] = [
        (Self::Llama, "llama"),
        (Self::Mistral, "mistral"),
        (Self::Qwen2, "qwen2"),
        (Self::Qwen3, "qwen3"),
        (Self::Gemma2, "gemma2"),
        (Self::Olmo, "olmo"),
        (Self::Olmo2, "olmo2"),
        (Self::GptNeoX, "gpt_neox"),
    ];

    pub(super) fn of(path: &Path, model_type: Option<&str>) -> Result<Self, PretrainedError> {
        let found = Self::ALL.into_iter().find(|(_, name)| Some(*name) == model_type);
        found.map(|(family, _)| family).ok_or_else(|| {
            let known = Self::ALL.map(|(_, name)| name).join(", ");
            let found = model_type.map_or("absent".to_owned(), |name| format!("{name:?}"));
            PretrainedError::out_of_range(format!("{}: model_type", path.display()), format!("one of {known}"), found)
        })
    }

    /// Its `model_type`.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(family, _)| *family == self).map_or("", |(_, name)| name)
    }

    pub(super) fn default_d_head(self, d_model: usize, n_heads: usize) -> usize {
        match self {
            Self::Gemma2 => 256,
            Self::Qwen3 => 128,
            _ => d_model / n_heads,
        }
    }

    pub(super) fn kind(self) -> Kind {
        let kind = Kind {
            norm: RMS,
            placement: Placement::Before,
            query_key_norm: None,
            attention_bias: false,
            activation: Activation::Silu,
        };
        match self {
            Self::Llama | Self::Mistral | Self::Qwen2 => kind,
            Self::Qwen3 => Kind { query_key_norm: Some(QueryKeyNorm::Head), ..kind },
            Self::Gemma2 => Kind {
                norm: Norm { offset: 1.0, ..RMS },
                placement: Placement::Around,
                activation: Activation::GeluTanh,
                ..kind
            },
            Self::Olmo => {
                let norm = Norm { centred: true, scale: false, epsilon: 1e-5, ..RMS };
                Kind { norm, ..kind }
            }
            Self::Olmo2 => {
                let norm = Norm { epsilon: 1e-5, ..RMS };
                Kind { norm, placement: Placement::Behind, query_key_norm: Some(QueryKeyNorm::Whole), ..kind }
            }
            Self::GptNeoX => {
                let norm = Norm { centred: true, shift: true, epsilon: 1e-5, ..RMS };
                Kind { norm, attention_bias: true, activation: Activation::Gelu, ..kind }
            }
        }
    }

    fn outside(self) -> &'static [(Part, &'static str)] {
        if self == Self::GptNeoX { &OUTSIDE_NEOX } else { &OUTSIDE }
    }

    /// The parts of a block with their names inside it.
    fn block(self) -> Vec<(Part, &'static str)> {
        let norms: &[_] = match self {
            Self::GptNeoX => return BLOCK_NEOX.to_vec(),
            Self::Gemma2 => &NORMS_AROUND,
            Self::Olmo2 => &NORMS_BEHIND,
            _ => &NORMS,
        };
        let of_heads: &[_] = if self.kind().query_key_norm.is_some() { &QUERY_KEY_NORMS } else { &[] };
        [norms, of_heads, &MAPS].concat()
    }

    fn layers(self) -> &'static str {
        if self == Self::GptNeoX { "gpt_neox.layers" } else { "model.layers" }
    }
}

impl DecoderConfig {
    /// What the tensors of `part` are called in block number `layer`, without `.weight`; none where the model has none.
    pub(crate) fn name(&self, part: Part, layer: usize) -> Option<String> {
        let named = |all: &[(Part, &'static str)]| all.iter().find(|(it, _)| *it == part).map(|(_, name)| *name);
        match named(self.family.outside()) {
            Some(name) => Some(name.to_owned()),
            None => named(&self.family.block()).map(|name| format!("{}.{layer}.{name}", self.family.layers())),
        }
    }

    /// The linear maps of a block, each with the last part of its name.
    pub(crate) fn maps(&self) -> Vec<(Part, &'static str)> {
        let maps = self.family.block().into_iter().filter(|(part, _)| !is_norm(*part));
        maps.map(|(part, name)| (part, name.rsplit('.').next().unwrap_or(name))).collect()
    }

    /// Whether what is stored under `name` is no weight.
    pub(crate) fn is_no_weight(&self, name: &str) -> bool {
        NOT_WEIGHTS.iter().any(|end| name.ends_with(end)) || (self.tied && self.is_head(name))
    }

    fn is_head(&self, name: &str) -> bool {
        self.name(Part::Head, 0).is_some_and(|head| name == format!("{head}.weight"))
    }

    /// Every tensor that the model must have.
    pub(crate) fn tensors(&self) -> Vec<Expected> {
        let outside = self.family.outside().iter().map(|(part, _)| *part);
        let outside = outside.filter(|part| *part != Part::Head || !self.tied).flat_map(|part| self.of_part(part, 0));
        outside.chain((0..self.n_layers).flat_map(|layer| self.block_tensors(layer))).collect()
    }

    /// Those of block number `layer`.
    pub(crate) fn block_tensors(&self, layer: usize) -> Vec<Expected> {
        self.family.block().into_iter().flat_map(|(part, _)| self.of_part(part, layer)).collect()
    }

    fn of_part(&self, part: Part, layer: usize) -> Vec<Expected> {
        let (shape, bias) = self.shape(part);
        let name = self.name(part, layer).expect("a part of the family");
        let mut found = Vec::new();
        let has_weight = self.norm.scale || !is_norm(part);
        if has_weight {
            found.push(Expected { name: format!("{name}.weight"), shape: shape.clone() });
        }
        if bias {
            found.push(Expected { name: format!("{name}.bias"), shape: shape[..1].to_vec() });
        }
        found
    }

    /// Shape of the weight, and whether there is a bias.
    pub(crate) fn shape(&self, part: Part) -> (Vec<usize>, bool) {
        let (d, inner) = (self.d_model, self.d_feed_forward);
        let (queries, keys) = (self.n_heads * self.d_head, self.n_kv_heads * self.d_head);
        let of_head = |all: usize| if self.query_key_norm == Some(QueryKeyNorm::Head) { self.d_head } else { all };
        match part {
            Part::Embedding | Part::Head => (vec![self.vocabulary, d], false),
            Part::Query => (vec![queries, d], self.biases.query_key_value),
            Part::Key | Part::Value => (vec![keys, d], self.biases.query_key_value),
            Part::QueryKeyValue => (vec![queries + 2 * keys, d], self.biases.query_key_value),
            Part::AttentionOut => (vec![d, queries], self.biases.attention_out),
            Part::Gate | Part::Up => (vec![inner, d], self.biases.feed_forward),
            Part::Down => (vec![d, inner], self.biases.feed_forward),
            Part::QueryNorm => (vec![of_head(queries)], false),
            Part::KeyNorm => (vec![of_head(keys)], false),
            Part::AttentionNorm
            | Part::AttentionPostNorm
            | Part::FeedForwardNorm
            | Part::FeedForwardPostNorm
            | Part::FinalNorm => (vec![d], self.norm.shift),
        }
    }
}

fn is_norm(part: Part) -> bool {
    use Part::{AttentionNorm, AttentionPostNorm, FeedForwardNorm, FeedForwardPostNorm, FinalNorm, KeyNorm, QueryNorm};
    let norms = [AttentionNorm, AttentionPostNorm, FeedForwardNorm, FeedForwardPostNorm, FinalNorm, KeyNorm, QueryNorm];
    norms.contains(&part)
}
