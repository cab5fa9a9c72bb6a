//! What a decoder consists of, as one plain structure for every family, and how it is read from `config.json`.

use std::path::Path;

use kernels::Activation;
use probe::Layer;
use serde_json::{Map, Value};

use super::Family;
use super::json::Settings;
use crate::PretrainedError;

/// What a decoder consists of. Families differ in the values of these fields and in the names of their tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Whose names and defaults it has.
    pub family: Family,
    /// Blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads of a block.
    pub n_heads: usize,
    /// Heads of keys and of values.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Width of the feed-forward part inside.
    pub d_feed_forward: usize,
    /// Tokens there are.
    pub vocabulary: usize,
    /// Tokens of the longest text it was made for.
    pub positions: usize,
    /// Every norm.
    pub norm: Norm,
    /// Where in a block norms stand.
    pub placement: Placement,
    /// Whether attention and feed-forward part read the same stream, and add to it together.
    pub parallel: bool,
    /// Norms of queries and keys.
    pub query_key_norm: Option<QueryKeyNorm>,
    /// Queries, keys and values are cut to this size.
    pub clip_query_key_value: Option<f32>,
    /// Which maps have a bias.
    pub biases: Biases,
    /// The rotation of queries and keys.
    pub rope: Rotation,
    /// What scores are multiplied with.
    pub attention_scale: f32,
    /// Scores s become cap · tanh(s / cap).
    pub attention_cap: Option<f32>,
    /// The same for logits.
    pub logit_cap: Option<f32>,
    /// For every block how many keys a query sees, its own among them; none for all.
    pub windows: Vec<Option<usize>>,
    /// What stands between the maps of the feed-forward part.
    pub activation: Activation,
    /// Whether its result is multiplied with a second map.
    pub gated: bool,
    /// Whether the head has the embedding's weights.
    pub tied: bool,
    /// What embeddings are multiplied with.
    pub embedding_scale: f32,
    /// Spread of weights drawn anew.
    pub initial_spread: f32,
    /// How the weights are stored, as the folder says; the tensors' own types count.
    pub stored: Option<String>,
}

/// A norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Layer norm takes the mean away, root-mean-square norm does not.
    pub centred: bool,
    /// Whether it has a scale.
    pub scale: bool,
    /// Whether it has a shift.
    pub shift: bool,
    /// Added to the stored scale: 1 where what is stored is its distance from 1.
    pub offset: f32,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Where in a block norms stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Before attention and before the feed-forward part.
    Before,
    /// Behind each, before what they give is added.
    Behind,
    /// Both.
    Around,
}

/// What a norm of queries and keys goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// Every head by itself.
    Head,
    /// All heads together.
    Whole,
}

/// Which maps have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    /// To queries, keys and values.
    pub query_key_value: bool,
    /// From the heads back to the stream.
    pub attention_out: bool,
    /// In the feed-forward part.
    pub feed_forward: bool,
}

/// Rotary positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation {
    /// Features of a head that are rotated.
    pub dims: usize,
    /// Base of the frequencies.
    pub base: f64,
    /// How they were changed for longer texts.
    pub scaling: Scaling,
}

/// A change of rotary frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// None.
    None,
    /// All divided by one factor.
    Linear {
        /// The factor.
        factor: f32,
    },
    /// Llama 3.1's: low frequencies divided, high ones left, those between in part.
    Llama3 {
        /// The factor.
        factor: f32,
        /// Wavelengths above `positions` over this are low frequencies.
        low: f32,
        /// Wavelengths below `positions` over this are high ones.
        high: f32,
        /// Positions before the change.
        positions: f32,
    },
}

impl DecoderConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it is no JSON, of an architecture that is not known, or a field is missing or outside its range.
    pub fn read(path: &Path) -> Result<Self, PretrainedError> {
        let text = std::fs::read(path).map_err(|error| PretrainedError::io("read", path, error))?;
        let fields: Map<String, Value> = serde_json::from_slice(&text)
            .map_err(|error| PretrainedError::file(path, format!("it must be a JSON object, but {error}")))?;
        let settings = Settings::new(path, fields);
        let family = Family::of(path, settings.text("model_type")?.as_deref())?;
        Self::from_settings(family, &settings)
    }

    fn from_settings(family: Family, settings: &Settings) -> Result<Self, PretrainedError> {
        let d_model = settings.size("hidden_size")?;
        let n_layers = settings.size("num_hidden_layers")?;
        settings.check("num_hidden_layers", n_layers <= Layer::MOST, || format!("between 1 and {}", Layer::MOST))?;
        let n_heads = settings.size("num_attention_heads")?;
        let n_kv_heads = key_value_heads(family, settings, n_heads)?;
        let d_head = settings.size_or("head_dim", family.default_d_head(d_model, n_heads))?;
        let of_head = if settings.get("head_dim").is_some() { "head_dim" } else { "num_attention_heads" };
        settings.check(of_head, d_head >= 2 && d_head.is_multiple_of(2), || {
            format!("such that a head's width is even and above 0 (it is {d_head})")
        })?;
        let kind = family.kind();
        let epsilon = if kind.norm.centred { "layer_norm_eps" } else { "rms_norm_eps" };
        let norm = Norm { epsilon: settings.positive_or(epsilon, kind.norm.epsilon)?, ..kind.norm };
        let flag = |name: &str, default: bool| settings.flag_or(name, default);
        let attention_bias = flag("attention_bias", kind.attention_bias)?;
        let biases = Biases {
            query_key_value: attention_bias || family == Family::Qwen2,
            attention_out: attention_bias && family != Family::Qwen2,
            feed_forward: family == Family::GptNeoX || flag("mlp_bias", false)?,
        };
        let gemma = family == Family::Gemma2;
        let scaled_by = if gemma { settings.positive_or("query_pre_attn_scalar", 256.0)? } else { d_head as f32 };
        let cap = |name: &str, default: f32| settings.optional_positive(name, gemma.then_some(default));
        let positions = settings.size_or("max_position_embeddings", 2048)?;
        let act = if gemma { "hidden_activation" } else { "hidden_act" };
        Ok(Self {
            family,
            n_layers,
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            d_feed_forward: settings.size("intermediate_size")?,
            vocabulary: settings.size("vocab_size")?,
            positions,
            norm,
            placement: kind.placement,
            parallel: family == Family::GptNeoX && flag("use_parallel_residual", true)?,
            query_key_norm: kind.query_key_norm,
            clip_query_key_value: if family == Family::Olmo {
                settings.optional_positive("clip_qkv", None)?
            } else {
                None
            },
            biases,
            rope: settings.rotation(d_head, (family == Family::GptNeoX).then_some(0.25), positions)?,
            attention_scale: scaled_by.powf(-0.5),
            attention_cap: if gemma { cap("attn_logit_softcapping", 50.0)? } else { None },
            logit_cap: if gemma { cap("final_logit_softcapping", 30.0)? } else { None },
            windows: windows(family, settings, n_layers)?,
            activation: activation(settings, act, kind.activation)?,
            gated: family != Family::GptNeoX,
            tied: flag("tie_word_embeddings", gemma)?,
            embedding_scale: if gemma { (d_model as f32).sqrt() } else { 1.0 },
            initial_spread: settings.positive_or("initializer_range", 0.02)?,
            stored: settings.stored_type()?,
        })
    }

    /// Parameters in all.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }

    /// Parameters of a block.
    pub fn parameters_of_block(&self) -> usize {
        self.block_tensors(0).iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }
}

/// Heads of keys and values, each for as many heads of queries.
fn key_value_heads(family: Family, settings: &Settings, n_heads: usize) -> Result<usize, PretrainedError> {
    let heads = settings.size_or("num_key_value_heads", n_heads)?;
    // GPT-NeoX stores query, key and value of a head together.
    let (fits, range) = match family {
        Family::GptNeoX => (heads == n_heads, "as many as num_attention_heads"),
        _ => (n_heads.is_multiple_of(heads), "a divisor of num_attention_heads"),
    };
    settings.check("num_key_value_heads", fits, || format!("{range} ({n_heads})"))?;
    Ok(heads)
}

/// How many keys a query sees, block by block.
fn windows(family: Family, settings: &Settings, n_layers: usize) -> Result<Vec<Option<usize>>, PretrainedError> {
    let window = match family {
        Family::Gemma2 => Some(settings.size_or("sliding_window", 4096)?),
        Family::Mistral => settings.optional_size("sliding_window")?,
        Family::Qwen2 | Family::Qwen3 if settings.flag_or("use_sliding_window", false)? => {
            settings.optional_size("sliding_window")?
        }
        _ => None,
    };
    let Some(window) = window else { return Ok(vec![None; n_layers]) };
    if let Some(kinds) = settings.layer_kinds(n_layers)? {
        return Ok(kinds.into_iter().map(|sliding| sliding.then_some(window)).collect());
    }
    let first_sliding = settings.count_or("max_window_layers", 28)?;
    let slides = |layer: usize| match family {
        Family::Gemma2 => layer.is_multiple_of(2),
        Family::Qwen2 | Family::Qwen3 => layer >= first_sliding,
        _ => true,
    };
    Ok((0..n_layers).map(|layer| slides(layer).then_some(window)).collect())
}

fn activation(settings: &Settings, field: &str, default: Activation) -> Result<Activation, PretrainedError> {
    match settings.text(field)?.as_deref() {
        None => Ok(default),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu") => Ok(Activation::Gelu),
        Some("gelu_pytorch_tanh" | "gelu_new" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some(_) => Err(settings.refused(field, "silu, gelu, gelu_pytorch_tanh, gelu_new or gelu_fast")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration of a small Llama with further fields.
    fn read(more: &str) -> Result<DecoderConfig, PretrainedError> {
        let needed = "\"model_type\": \"llama\", \"hidden_size\": 24, \"num_hidden_layers\": 2, \
            \"num_attention_heads\": 3, \"intermediate_size\": 32, \"vocab_size\": 128";
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config.json");
        std::fs::write(&path, format!("{{{needed}{more}}}")).unwrap();
        DecoderConfig::read(&path)
    }

    fn rope(more: &str) -> Rotation {
        read(more).unwrap().rope
    }

    #[test]
    fn what_is_absent_is_what_the_family_has() {
        let config = read("").unwrap();
        assert_eq!((config.n_kv_heads, config.d_head, config.positions), (3, 8, 2048));
        assert_eq!(config.rope, Rotation { dims: 8, base: 10_000.0, scaling: Scaling::None });
        assert_eq!((config.norm.epsilon, config.tied, config.stored.as_deref()), (1e-6, false, None));
        assert_eq!(config.windows, [None, None]);
    }

    #[test]
    fn rotations_are_read_in_both_spellings() {
        let linear = Rotation { dims: 8, base: 5e5, scaling: Scaling::Linear { factor: 2.0 } };
        let older = ", \"rope_theta\": 500000, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}";
        let newer = ", \"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"linear\", \"factor\": 2.0}";
        assert_eq!([rope(older), rope(newer)], [linear, linear]);
        let llama = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, positions: 64.0 };
        let fields = "\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, \
            \"original_max_position_embeddings\": 64";
        for name in ["rope_scaling", "rope_parameters"] {
            assert_eq!(rope(&format!(", \"{name}\": {{{fields}}}")).scaling, llama);
        }
        let half = ", \"model_type\": \"gpt_neox\", \"rope_parameters\": {\"partial_rotary_factor\": 0.5}";
        let plain = ", \"model_type\": \"gpt_neox\", \"partial_rotary_factor\": 0.5";
        assert_eq!([half, plain].map(|more| rope(more).dims), [4, 4]);
    }

    /// As `transformers` takes `rope_scaling or rope_parameters`.
    #[test]
    fn of_both_spellings_the_older_counts() {
        let newer = ", \"rope_parameters\": {\"rope_theta\": 7.0, \"rope_type\": \"linear\", \"factor\": 3}";
        let of = |older: &str| rope(&format!("{newer}, \"rope_theta\": 9, \"rope_scaling\": {older}"));
        let linear = |base, factor| Rotation { dims: 8, base, scaling: Scaling::Linear { factor } };
        assert_eq!(of("{\"type\": \"linear\", \"factor\": 2}"), linear(9.0, 2.0));
        assert_eq!(of("{\"rope_theta\": 8, \"type\": \"linear\", \"factor\": 2}"), linear(8.0, 2.0));
        assert_eq!([of("null"), of("{}")], [linear(7.0, 3.0); 2]);
    }

    #[test]
    fn the_type_of_stored_weights_has_two_names() {
        for (more, stored) in [
            (", \"dtype\": \"float16\"", Some("float16")),
            (", \"torch_dtype\": \"bfloat16\"", Some("bfloat16")),
            (", \"torch_dtype\": \"bfloat16\", \"dtype\": \"float16\"", Some("float16")),
            (", \"dtype\": null", None),
        ] {
            assert_eq!(read(more).unwrap().stored.as_deref(), stored);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_range_and_value() {
        for (more, words) in [
            (
                ", \"hidden_size\": \"wide\"",
                "hidden_size must be a whole number above 0 and at most 16777216, but is \"wide\"",
            ),
            (", \"hidden_size\": null", "hidden_size must be a whole number above 0, but is null"),
            (
                ", \"num_key_value_heads\": 2",
                "num_key_value_heads must be a divisor of num_attention_heads (3), but is 2",
            ),
            (", \"rms_norm_eps\": -1", "rms_norm_eps must be a finite number above 0, but is -1"),
            (
                ", \"hidden_act\": \"relu\"",
                "hidden_act must be silu, gelu, gelu_pytorch_tanh, gelu_new or gelu_fast, but",
            ),
            (", \"tie_word_embeddings\": 1", "tie_word_embeddings must be true or false, but is 1"),
            (", \"rope_scaling\": 3", "rope_scaling must be an object, but is 3"),
            (", \"rope_scaling\": {\"type\": \"yarn\"}", "type must be default, linear or llama3, but is \"yarn\""),
            (", \"rope_parameters\": {\"rope_type\": \"linear\"}", "factor must be a number above 0, but is absent"),
            (
                ", \"model_type\": \"gpt_neox\", \"rotary_pct\": 0.4",
                "rotary_pct must be so large that an even number of a head's 8 features is rotated, but is 0.4",
            ),
            (", \"partial_rotary_factor\": 0.5", "partial_rotary_factor must be absent or 1 for a model of this kind"),
            (", \"head_dim\": 7", "head_dim must be such that a head's width is even and above 0 (it is 7), but is 7"),
            (", \"num_attention_heads\": 24", "num_attention_heads must be such that a head's width is even"),
            (
                ", \"model_type\": \"gpt_neox\", \"partial_rotary_factor\": 2",
                "partial_rotary_factor must be so large that an even number",
            ),
            (
                ", \"model_type\": \"mamba\"",
                "model_type must be one of llama, mistral, qwen2, qwen3, gemma2, olmo, olmo2, ",
            ),
        ] {
            let message = read(more).unwrap_err().to_string();
            assert!(message.contains(&format!("config.json: {words}")), "{message}");
        }
    }
}
