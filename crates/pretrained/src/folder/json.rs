//! The fields of a `config.json` or an `adapter_config.json`, with a sentence for each that is not as it must be.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::config::{Rotation, Scaling};
use crate::PretrainedError;

/// The fields of a JSON object in a file.
#[derive(Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Settings {
    pub(crate) fn new(path: &Path, fields: Map<String, Value>) -> Self {
        Self { path: path.to_owned(), fields }
    }

    /// What is there; null is nothing.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A field that is not in its range.
    pub(crate) fn refused(&self, field: &str, range: impl Into<String>) -> PretrainedError {
        let value = self.fields.get(field).map_or("absent".to_owned(), Value::to_string);
        PretrainedError::out_of_range(format!("{}: {field}", self.path.display()), range, value)
    }

    pub(super) fn check(
        &self,
        field: &str,
        accepted: bool,
        range: impl FnOnce() -> String,
    ) -> Result<(), PretrainedError> {
        if accepted { Ok(()) } else { Err(self.refused(field, range())) }
    }

    fn read<T>(
        &self,
        field: &str,
        range: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, PretrainedError> {
        self.get(field).map(|value| read(value).ok_or_else(|| self.refused(field, range))).transpose()
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<String>, PretrainedError> {
        self.read(field, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn flag_or(&self, field: &str, default: bool) -> Result<bool, PretrainedError> {
        Ok(self.read(field, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub(super) fn optional_size(&self, field: &str) -> Result<Option<usize>, PretrainedError> {
        // Larger than any model, and small enough that products of two sizes are numbers.
        const MOST: u64 = 1 << 24;
        let size = |value: &Value| value.as_u64().filter(|size| (1..=MOST).contains(size));
        Ok(self.read(field, "a whole number above 0 and at most 16777216", size)?.map(|size| size as usize))
    }

    /// A number of things, of which there may be none.
    pub(super) fn count_or(&self, field: &str, default: usize) -> Result<usize, PretrainedError> {
        let count = self.read(field, "a whole number, 0 or more", Value::as_u64)?;
        Ok(count.map_or(default, |count| count as usize))
    }

    pub(super) fn size_or(&self, field: &str, default: usize) -> Result<usize, PretrainedError> {
        Ok(self.optional_size(field)?.unwrap_or(default))
    }

    pub(super) fn size(&self, field: &str) -> Result<usize, PretrainedError> {
        self.optional_size(field)?.ok_or_else(|| self.refused(field, "a whole number above 0"))
    }

    /// A number above 0; null is none, and what is absent the default.
    pub(super) fn optional_positive(&self, field: &str, default: Option<f32>) -> Result<Option<f32>, PretrainedError> {
        if !self.fields.contains_key(field) {
            return Ok(default);
        }
        let positive = |value: &Value| value.as_f64().map(|value| value as f32).filter(|value| positive(*value));
        self.read(field, "a finite number above 0", positive)
    }

    pub(super) fn positive_or(&self, field: &str, default: f32) -> Result<f32, PretrainedError> {
        Ok(self.optional_positive(field, Some(default))?.unwrap_or(default))
    }

    /// How the weights are stored: `dtype`, as newer folders call it, or `torch_dtype`.
    pub(super) fn stored_type(&self) -> Result<Option<String>, PretrainedError> {
        match self.text("dtype")? {
            None => self.text("torch_dtype"),
            found => Ok(found),
        }
    }

    /// Whether each layer has a window, where the folder says so.
    pub(super) fn layer_kinds(&self, n_layers: usize) -> Result<Option<Vec<bool>>, PretrainedError> {
        let kind = |value: &Value| match value.as_str()? {
            "sliding_attention" => Some(true),
            "full_attention" => Some(false),
            _ => None,
        };
        let kinds = |value: &Value| value.as_array()?.iter().map(kind).collect::<Option<Vec<bool>>>();
        let range = format!("{n_layers} times sliding_attention or full_attention");
        self.read("layer_types", &range, |value| kinds(value).filter(|kinds| kinds.len() == n_layers))
    }

    /// The rotation of a head's features, by the newer spelling (`rope_parameters`) or the older (`rope_theta`,
    /// `rope_scaling`; Pythia's `rotary_emb_base` and `rotary_pct`). Where both are there, `rope_scaling` counts.
    ///
    /// `usual_share` is the share of a head's features that is rotated where nothing is said, none where all always are.
    ///
    /// # Source
    /// `convert_rope_params_to_dict` of transformers 5.24.
    pub(super) fn rotation(
        &self,
        d_head: usize,
        usual_share: Option<f32>,
        positions: usize,
    ) -> Result<Rotation, PretrainedError> {
        let inner = |field: &str| match self.get(field) {
            None => Ok(None),
            Some(Value::Object(fields)) if fields.is_empty() => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Self::new(&self.path, fields.clone()))),
            Some(_) => Err(self.refused(field, "an object")),
        };
        let (older, newer) = (inner("rope_scaling")?, inner("rope_parameters")?);
        let inner = older.or(newer);
        let first_of = |names: [(Option<&Self>, &str); 3]| {
            names.into_iter().find_map(|(settings, name)| settings?.optional_positive(name, None).transpose())
        };
        let base =
            first_of([(inner.as_ref(), "rope_theta"), (Some(self), "rope_theta"), (Some(self), "rotary_emb_base")])
                .transpose()?
                .unwrap_or(10_000.0);
        let shares = [
            (inner.as_ref(), "partial_rotary_factor"),
            (Some(self), "partial_rotary_factor"),
            (Some(self), "rotary_pct"),
        ];
        let share = first_of(shares).transpose()?.unwrap_or(usual_share.unwrap_or(1.0));
        let dims = (d_head as f32 * share) as usize;
        let may_be = usual_share.is_some() || dims == d_head;
        if !may_be || !dims.is_multiple_of(2) || dims == 0 || dims > d_head {
            let says = |(settings, name): &(Option<&Self>, &str)| settings.is_some_and(|all| all.get(name).is_some());
            let (settings, name) = shares.into_iter().find(says).unwrap_or(shares[1]);
            let range = match usual_share {
                Some(_) => format!("so large that an even number of a head's {d_head} features is rotated"),
                None => "absent or 1 for a model of this kind, which rotates all features".to_owned(),
            };
            return Err(settings.unwrap_or(self).refused(name, range));
        }
        let scaling = inner.map_or(Ok(Scaling::None), |inner| inner.scaling(positions))?;
        Ok(Rotation { dims, base: f64::from(base), scaling })
    }

    fn scaling(&self, positions: usize) -> Result<Scaling, PretrainedError> {
        let name = if self.get("rope_type").is_some() { "rope_type" } else { "type" };
        let factor =
            || self.optional_positive("factor", None)?.ok_or_else(|| self.refused("factor", "a number above 0"));
        match self.text(name)?.as_deref() {
            None | Some("default") => Ok(Scaling::None),
            Some("linear") => Ok(Scaling::Linear { factor: factor()? }),
            Some("llama3") => Ok(Scaling::Llama3 {
                factor: factor()?,
                low: self.positive_or("low_freq_factor", 1.0)?,
                high: self.positive_or("high_freq_factor", 4.0)?,
                positions: self.size_or("original_max_position_embeddings", positions)? as f32,
            }),
            Some(_) => Err(self.refused(name, "default, linear or llama3")),
        }
    }
}

fn positive(value: f32) -> bool {
    value.is_finite() && value > 0.0
}
