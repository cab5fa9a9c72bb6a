//! Low-rank adapters: which maps have one, and their factors on the host.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use data::{Purpose, Stream};
use rand::RngExt;
use run::ConfigError;
use serde::{Deserialize, Serialize};

use crate::PretrainedError;
use crate::config::out_of_range;
use crate::decoder::MapPlace;
use crate::folder::{DecoderConfig, Expected, Family, Part};

/// Which blocks get adapters. Without one a block stays as it was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Free {
    /// Every one.
    All,
    /// The first so many.
    First(usize),
    /// The last so many.
    Last(usize),
}

impl Free {
    /// The numbers of the blocks, from 0.
    ///
    /// # Errors
    /// When the number of blocks is not between 1 and `n_layers`.
    pub fn layers(self, n_layers: usize) -> Result<Range<usize>, ConfigError> {
        match self {
            Self::First(n) | Self::Last(n) if !(1..=n_layers).contains(&n) => {
                let range = format!("all, or first=N or last=N with N between 1 and the model's {n_layers} layers");
                Err(out_of_range("finetune.free", range, n))
            }
            Self::All => Ok(0..n_layers),
            Self::First(n) => Ok(0..n),
            Self::Last(n) => Ok(n_layers - n..n_layers),
        }
    }
}

impl FromStr for Free {
    type Err = PretrainedError;

    fn from_str(text: &str) -> Result<Self, PretrainedError> {
        let found = match text.split_once('=') {
            None if text == "all" => Some(Self::All),
            Some(("first", n)) => n.parse().ok().map(Self::First),
            Some(("last", n)) => n.parse().ok().map(Self::Last),
            _ => None,
        };
        found.ok_or_else(|| PretrainedError::out_of_range("finetune.free", "all, first=N or last=N", text))
    }
}

impl TryFrom<String> for Free {
    type Error = PretrainedError;

    fn try_from(text: String) -> Result<Self, PretrainedError> {
        text.parse()
    }
}

impl From<Free> for String {
    fn from(free: Free) -> Self {
        free.to_string()
    }
}

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::First(n) => write!(f, "first={n}"),
            Self::Last(n) => write!(f, "last={n}"),
        }
    }
}

/// Which maps have an adapter, and of which size.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Rank r of every adapter.
    pub rank: usize,
    /// α; what an adapter gives is multiplied by α/r.
    pub alpha: f64,
    /// Probability with which each of an adapter's inputs is left out in training.
    pub dropout: f64,
    /// Names of the maps, such as `q_proj`, sorted.
    pub targets: Vec<String>,
    /// Numbers of the blocks, from 0, sorted.
    pub layers: Vec<usize>,
}

impl AdapterConfig {
    /// α/r
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// The maps that have an adapter, block by block.
    pub(crate) fn places(&self, model: &DecoderConfig) -> Vec<AdapterPlace> {
        let maps = model.maps();
        let of_layer = |&layer: &usize| {
            let has_one = |(_, name): &&(Part, &str)| self.targets.iter().any(|target| target == name);
            maps.iter().filter(has_one).map(move |&(part, _)| AdapterPlace::new(model, part, layer))
        };
        self.layers.iter().flat_map(of_layer).collect()
    }
}

/// The names of maps that may have an adapter in a model.
pub(crate) fn target_names(model: &DecoderConfig) -> Vec<&'static str> {
    model.maps().into_iter().map(|(_, name)| name).collect()
}

/// The maps that PEFT gives an adapter where none are named.
///
/// # Source
/// `TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING` of peft 0.21.
pub(crate) fn usual_targets(model: &DecoderConfig) -> &'static [&'static str] {
    if model.family == Family::GptNeoX { &["query_key_value"] } else { &["q_proj", "v_proj"] }
}

/// A map that has an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdapterPlace {
    pub(crate) layer: usize,
    pub(crate) part: Part,
    /// The map's name in the folder.
    pub(crate) name: String,
    /// Which of the block's maps it belongs to.
    pub(crate) map: MapPlace,
    /// The first column of that map's outputs that it writes.
    pub(crate) first: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl AdapterPlace {
    fn new(model: &DecoderConfig, part: Part, layer: usize) -> Self {
        let (queries, keys) = (model.n_heads * model.d_head, model.n_kv_heads * model.d_head);
        let (map, first) = match part {
            Part::Key => (MapPlace::QueryKeyValue, queries),
            Part::Value => (MapPlace::QueryKeyValue, queries + keys),
            Part::AttentionOut => (MapPlace::AttentionOut, 0),
            Part::Gate => (MapPlace::FeedForwardIn, 0),
            Part::Up => (MapPlace::FeedForwardIn, if model.gated { model.d_feed_forward } else { 0 }),
            Part::Down => (MapPlace::FeedForwardOut, 0),
            _ => (MapPlace::QueryKeyValue, 0),
        };
        let (shape, _) = model.shape(part);
        let name = model.name(part, layer).expect("a part of the family");
        Self { layer, part, name, map, first, inputs: shape[1], outputs: shape[0] }
    }

    /// What PEFT calls the factors A and B.
    pub(crate) fn tensor_names(&self) -> [String; 2] {
        ["A", "B"].map(|factor| format!("base_model.model.{}.lora_{factor}.weight", self.name))
    }
}

/// The factors of one adapter, as PEFT stores them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Factors {
    pub(crate) place: AdapterPlace,
    /// A, `[rank, inputs]`
    pub(crate) down: Vec<f32>,
    /// B, `[outputs, rank]`
    pub(crate) up: Vec<f32>,
}

/// Adapters of a model: to every map y = W x that has one they add (α/r) B A x.
///
/// # Source
/// Hu et al. (2021), arXiv 2106.09685.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    /// Which maps have one.
    pub config: AdapterConfig,
    /// The model they belong to, as a name or folder.
    pub base: String,
    /// In the order of [`AdapterConfig::places`].
    pub(crate) factors: Vec<Factors>,
}

impl Adapters {
    /// Adapters that change nothing yet: A is uniform within ±1/√inputs, B is 0.
    ///
    /// # Source
    /// peft 0.21, `LoraLayer.reset_lora_parameters`: `kaiming_uniform_` with a = √5.
    pub fn new(seed: u64, config: AdapterConfig, model: &DecoderConfig, base: impl Into<String>) -> Self {
        let stream = Stream::new(seed, Purpose::Init);
        let draw = |(number, place): (usize, AdapterPlace)| {
            let most = (place.inputs as f32).sqrt().recip();
            let mut rng = stream.rng(number as u64);
            let down = (0..config.rank * place.inputs).map(|_| rng.random_range(-most..most)).collect();
            Factors { down, up: vec![0.0; place.outputs * config.rank], place }
        };
        let factors = config.places(model).into_iter().enumerate().map(draw).collect();
        Self { config, base: base.into(), factors }
    }

    /// Numbers in all factors.
    pub fn parameters(&self) -> usize {
        self.factors.iter().map(|factors| factors.down.len() + factors.up.len()).sum()
    }

    /// What the tensors of adapters in a file must be.
    pub(crate) fn expected(config: &AdapterConfig, model: &DecoderConfig) -> Vec<Expected> {
        let of = |place: AdapterPlace| {
            let shapes = [vec![config.rank, place.inputs], vec![place.outputs, config.rank]];
            let [down, up] = place.tensor_names();
            let [of_down, of_up] = shapes;
            [Expected { name: down, shape: of_down }, Expected { name: up, shape: of_up }]
        };
        config.places(model).into_iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::fixtures::{config, folder};

    #[test]
    fn first_last_and_all_free_the_blocks_they_name() {
        let layers = |text: &str, n| text.parse::<Free>().unwrap().layers(n).map_err(|error| error.to_string());
        assert_eq!(layers("all", 3), Ok(0..3));
        assert_eq!([layers("first=1", 3), layers("last=2", 3)], [Ok(0..1), Ok(1..3)]);
        assert_eq!(layers("last=3", 3), layers("first=3", 3));
        for text in ["first=0", "last=4"] {
            let refusal = layers(text, 3).unwrap_err();
            assert!(
                refusal.starts_with("finetune.free must be all, or first=N or last=N with N between 1 and"),
                "{refusal}"
            );
        }
        let refusal = "middle=2".parse::<Free>().unwrap_err().to_string();
        assert_eq!(refusal, "finetune.free must be all, first=N or last=N, but is middle=2");
    }

    #[test]
    fn new_adapters_have_the_shapes_and_spread_of_pefts() {
        let folder = folder("smollm2");
        let config = AdapterConfig { layers: vec![1, 2], ..config(&["down_proj", "k_proj", "up_proj"]) };
        let adapters = Adapters::new(3, config.clone(), &folder.config, "");
        let named: Vec<_> = adapters.factors.iter().map(|factors| factors.place.name.as_str()).collect();
        let of = |layer| {
            ["self_attn.k_proj", "mlp.up_proj", "mlp.down_proj"].map(|map| format!("model.layers.{layer}.{map}"))
        };
        assert_eq!(named, [of(1), of(2)].concat());
        for Factors { place, down, up } in &adapters.factors {
            let most = 1.0 / (place.inputs as f32).sqrt();
            assert!(down.iter().all(|value| value.abs() <= most) && down.iter().any(|value| value.abs() > 0.8 * most));
            assert!(up.iter().all(|value| *value == 0.0) && up.len() == place.outputs * config.rank);
        }
        assert_eq!(adapters, Adapters::new(3, config.clone(), &folder.config, ""));
        assert_ne!(adapters, Adapters::new(4, config, &folder.config, ""));
    }
}
