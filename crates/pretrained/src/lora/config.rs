//! The settings of tuning.

use run::ConfigError;
use serde::{Deserialize, Serialize};

use super::adapter::{AdapterConfig, Free, target_names, usual_targets};
use crate::config::out_of_range;
use crate::folder::DecoderConfig;

/// How adapters are tuned: the section `finetune` of a configuration. The optimizer is Adam without decay, its other
/// constants PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Rank r of every adapter, between 1 and the model's width.
    pub rank: usize,
    /// α, above 0; what an adapter gives is multiplied by α/r.
    pub alpha: f64,
    /// Probability with which each of an adapter's inputs is left out, at least 0 and below 1.
    pub dropout: f64,
    /// The maps that get an adapter, by their names in the folder, such as `q_proj`. If none is named, those that PEFT
    /// takes: `q_proj` and `v_proj`, and Pythia's `query_key_value`.
    pub targets: Vec<String>,
    /// The blocks that get adapters: `all`, `first=N` or `last=N`.
    pub free: Free,
    /// Examples to tune on, each drawn once; at least 1.
    pub samples: u64,
    /// Examples of a step, between 1 and `samples`; the last step has what is left.
    pub batch_size: usize,
    /// Adam's learning rate, above 0.
    pub learning_rate: f64,
    /// Steps from one checkpoint to the next, at least 1.
    pub checkpoint_every: usize,
}

impl FinetuneConfig {
    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.samples.div_ceil(self.batch_size as u64) as usize
    }

    /// Checks what is the same for every model.
    ///
    /// # Errors
    /// When a setting is not in its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self { rank, alpha, dropout, samples, batch_size, learning_rate, checkpoint_every, .. } = *self;
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        let number = |value: f64| format!("{value:?}");
        check("rank", rank >= 1, "at least 1", rank)?;
        check("alpha", above_0(alpha), "a finite number above 0", number(alpha))?;
        check("dropout", (0.0..1.0).contains(&dropout), "at least 0 and below 1", number(dropout))?;
        check("samples", samples >= 1, "at least 1", samples)?;
        let between = format!("between 1 and finetune.samples ({samples})");
        check("batch_size", (1..=samples).contains(&(batch_size as u64)), between, batch_size)?;
        check("learning_rate", above_0(learning_rate), "a finite number above 0", number(learning_rate))?;
        check("checkpoint_every", checkpoint_every >= 1, "at least 1", checkpoint_every)
    }

    /// The adapters that a model gets.
    ///
    /// # Errors
    /// As [`check`](Self::check), or when a setting is not in its range for this model.
    pub fn adapters(&self, model: &DecoderConfig) -> Result<AdapterConfig, ConfigError> {
        self.check()?;
        let Self { rank, alpha, dropout, .. } = *self;
        let between = format!("between 1 and the model's width ({})", model.d_model);
        check("rank", rank <= model.d_model, between, rank)?;
        let known = target_names(model);
        for target in &self.targets {
            check("targets", known.contains(&target.as_str()), format!("some of {}", known.join(", ")), target)?;
        }
        let mut targets = self.targets.clone();
        if targets.is_empty() {
            targets = usual_targets(model).iter().map(ToString::to_string).collect();
        }
        targets.sort_unstable();
        targets.dedup();
        let layers = self.free.layers(model.n_layers)?.collect();
        Ok(AdapterConfig { rank, alpha, dropout, targets, layers })
    }
}

fn check(field: &str, accepted: bool, range: impl Into<String>, value: impl ToString) -> Result<(), ConfigError> {
    let refused = || out_of_range(format!("finetune.{field}"), range, value);
    if accepted { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::fixtures::{finetune_config, folder};

    #[test]
    fn every_setting_has_its_range() {
        let model = folder("smollm2").config;
        type Change = fn(&mut FinetuneConfig);
        let cases: [(Change, &str); 10] = [
            (|it| it.rank = 0, "finetune.rank must be at least 1, but is 0"),
            (|it| it.rank = 1000, "finetune.rank must be between 1 and the model's width ("),
            (|it| it.alpha = f64::NAN, "finetune.alpha must be a finite number above 0, but is NaN"),
            (|it| it.dropout = 1.0, "finetune.dropout must be at least 0 and below 1, but is 1"),
            (|it| it.targets = vec!["dense".to_owned()], "finetune.targets must be some of q_proj, k_proj, "),
            (
                |it| it.free = Free::Last(4),
                "finetune.free must be all, or first=N or last=N with N between 1 and the model's 3 layers, but",
            ),
            (|it| it.samples = 0, "finetune.samples must be at least 1, but is 0"),
            (|it| it.batch_size = 99, "finetune.batch_size must be between 1 and finetune.samples ("),
            (|it| it.learning_rate = -1.0, "finetune.learning_rate must be"),
            (|it| it.checkpoint_every = 0, "finetune.checkpoint_every must be at least 1, but is 0"),
        ];
        for (change, words) in cases {
            let mut config = finetune_config();
            change(&mut config);
            let message = config.adapters(&model).unwrap_err().to_string();
            assert!(message.starts_with(words), "{message}");
        }
    }

    #[test]
    fn without_names_the_maps_are_pefts_usual_ones() {
        let config = finetune_config();
        let targets = |name: &str| config.adapters(&folder(name).config).unwrap().targets;
        assert_eq!(targets("smollm2"), ["q_proj", "v_proj"]);
        assert_eq!(targets("pythia-f16"), ["query_key_value"]);
    }

    #[test]
    fn a_setting_that_is_missing_or_unknown_is_refused() {
        let text = toml::to_string(&finetune_config()).unwrap();
        assert_eq!(toml::from_str::<FinetuneConfig>(&text).unwrap(), finetune_config());
        assert!(toml::from_str::<FinetuneConfig>(&format!("{text}\nepochs = 2")).is_err());
        assert!(toml::from_str::<FinetuneConfig>(&text.replace("rank", "r")).is_err());
    }
}
