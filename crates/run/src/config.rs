//! What a user writes, and what it means once every field is checked.

use std::collections::BTreeMap;

use data::{Legend, PromptShape, TaskRegistry};
use model::{Architecture, Free, ModelConfig};
use probe::{Anatomy, EvalConfig, ProbeConfig, Study};
use record::{FieldChange, Seal, leaves};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::checks::{check, check_name};
use crate::version::VERSION;
use crate::{ConfigError, Schedule, Until, elsewhere};

/// A complete configuration. No field has a default here: every default stands in `experiments/base.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the configuration: today's, since it was brought there when it was read.
    pub version: u32,
    /// Name of the run's folder, before the hash: letters, digits, `-` and `_`.
    pub name: String,
    /// Seed of all randomness.
    pub seed: u64,
    /// The task, read by the constructor that its `kind` names.
    pub task: Table,
    /// Size and initialisation of the model.
    pub model: ModelConfig,
    /// The optimizer and its data.
    pub train: TrainConfig,
    /// The held-out error.
    pub eval: EvalConfig,
    /// Concept Decodability.
    pub probe: ProbeConfig,
    /// When to save.
    pub checkpoints: CheckpointConfig,
    /// What the run continues from; absent where it starts from drawn weights.
    pub finetune: Option<FinetuneConfig>,
}

/// The `[finetune]` section, which `finetune` writes: a run that starts from the weights of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Name of the other run, a note to the reader.
    pub run: String,
    /// Its checkpoint, a note as well.
    pub step: usize,
    /// SHA-256 of the starting weights: what counts, wherever they came from. They lie in the run's folder.
    pub weights: String,
    /// The parameters that may change.
    pub free: Free,
}

/// The `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps, 1 to 99,999,999.
    pub steps: usize,
    /// Prompts a step, 1 to 65,536.
    pub batch_size: usize,
    /// Parts a batch is split into on a CPU, each for one thread; 1 to `batch_size`. Gradients are summed in the order
    /// of the parts, so the number of threads changes nothing but the time.
    pub shards: usize,
    /// Adam's step size, above 0 in f32, which training computes in.
    pub learning_rate: f64,
    /// How the step size goes over training.
    pub schedule: Schedule,
    /// Adam's decay of the first moment, 0 ≤ β₁ < 1.
    pub beta_1: f64,
    /// Adam's decay of the second moment, 0 ≤ β₂ < 1.
    pub beta_2: f64,
    /// Adam's ε, above 0 in f32.
    pub epsilon: f64,
    /// The optimizer Muon for the linear maps inside the blocks; absent where Adam moves every parameter.
    pub muon: Option<MuonConfig>,
    /// Largest global gradient norm, above 0 in f32; `inf` for no clipping.
    pub clip_norm: f64,
    /// Steps between rows of the training table, at least 1.
    pub log_every: usize,
    /// When training ends before `steps`; absent where it never does.
    pub until: Option<Until>,
}

/// `train.muon`: the linear maps inside the blocks are moved by Muon, at the learning rate of Adam, which moves the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuonConfig {
    /// Decay of the mean of the gradients, 0 ≤ μ < 1.
    pub momentum: f64,
}

/// The `[checkpoints]` section. Steps 0, 1, 2, 4, 8, … below `every`, multiples of `every`, and the last are saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between regular checkpoints, at least 1.
    pub every: usize,
    /// Latest checkpoints that keep the optimizer's state, at least 1; older ones keep their weights.
    pub full: usize,
}

/// A configuration whose every field has been checked, with what it describes.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The configuration.
    pub config: Config,
    /// What is measured: the task it names, and how errors and decodability are taken.
    pub study: Study,
    /// The model's size.
    pub architecture: Architecture,
}

impl Config {
    /// Checks every field and builds the task.
    ///
    /// # Errors
    /// When a field is outside its range; the message names the field, the range and the value.
    pub fn build(self, registry: &TaskRegistry) -> Result<Experiment, ConfigError> {
        check("version", VERSION.to_string(), self.version, self.version == VERSION)?;
        check_name(&self.name)?;
        // TOML integers are signed, and the configuration is written back to the run.
        check("seed", format!("between 0 and {}", i64::MAX), self.seed, i64::try_from(self.seed).is_ok())?;
        self.train.check()?;
        check("checkpoints.every", "at least 1", self.checkpoints.every, self.checkpoints.every >= 1)?;
        check("checkpoints.full", "at least 1", self.checkpoints.full, self.checkpoints.full >= 1)?;
        let task = registry.build(&self.task)?;
        self.train.until.map_or(Ok(()), |until| until.check(&Legend::of(task.as_ref())))?;
        let PromptShape { n_points, d_x } = task.shape();
        let architecture = self.model.architecture(d_x, n_points)?;
        self.free().check("finetune.free", architecture.n_layers)?;
        let study = Study::new(self.seed, task, self.eval.clone(), self.probe.clone())?;
        Ok(Experiment { config: self, study, architecture })
    }

    /// The parameters that training may change.
    pub fn free(&self) -> Free {
        self.finetune.as_ref().map_or(Free::All, |finetune| finetune.free)
    }

    /// The configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a checked configuration is TOML")
    }

    /// Every value as TOML, by its path through the tables.
    pub fn fields(&self) -> BTreeMap<String, String> {
        let mut table = self.to_table();
        if let (Some(Value::Table(finetune)), Some(FinetuneConfig { free, .. })) =
            (table.get_mut("finetune"), &self.finetune)
        {
            // One field, whatever the layers are.
            finetune.insert("free".to_owned(), Value::String(free.to_string()));
        }
        leaves(&table).into_iter().map(|(path, value)| (path, value.to_string())).collect()
    }

    /// Whether every number is measured in the same way by `other`.
    pub fn measures_as(&self, other: &Self) -> bool {
        (&self.eval, &self.probe) == (&other.eval, &other.probe)
    }

    /// Settings that `other` has otherwise, or that one of the two does not have; the values here are the sealed ones.
    pub fn changes_to(&self, other: &Self) -> Vec<FieldChange> {
        FieldChange::between(&self.to_table(), &other.to_table())
    }

    /// The configuration as a table.
    pub(crate) fn to_table(&self) -> Table {
        Table::try_from(self).expect("a checked configuration is TOML")
    }

    /// Name of its run, and of the folder that it is made in if that is free, wherever a copy of it lies later.
    pub fn run_name(&self) -> String {
        format!("{}-{}", self.name, self.identity())
    }

    /// Eight hexadecimal digits that differ when anything differs that could not be computed again from the checkpoints:
    /// seed, task, model, training, the steps that are saved, and the weights to continue from with what of them is free.
    /// How the run is measured can be changed later, and does not count; nor do its name and notes.
    pub fn identity(&self) -> String {
        let mut whole = self.to_table();
        let mut same = Table::new();
        for section in ["seed", "task", "model", "train", "checkpoints", "finetune"] {
            same.extend(whole.remove_entry(section));
        }
        if let Some(Value::Table(task)) = same.get_mut("task") {
            elsewhere::without_place(task);
        }
        let mut without = |section: &str, field: &str| {
            same.get_mut(section).and_then(Value::as_table_mut).and_then(|section| section.remove(field))
        };
        without("checkpoints", "full");
        without("finetune", "run");
        without("finetune", "step");
        Seal::of(same).digest()[..8].to_owned()
    }
}

impl Experiment {
    /// What its models consist of.
    pub fn anatomy(&self) -> Anatomy {
        let Architecture { n_layers, n_heads, d_model, .. } = self.architecture;
        Anatomy { n_layers, n_heads, d_model }
    }

    /// Errors unless saved weights of the architecture `found` are weights of this experiment's model.
    ///
    /// # Errors
    /// When the prompt or the model has another size.
    pub fn check_weights(&self, found: &Architecture) -> Result<(), ConfigError> {
        let Architecture { kind, d_x, n_points, d_model, n_layers, n_heads, latent } = self.architecture;
        check("model.kind", format!("that of the saved weights ({})", found.kind), kind, kind == found.kind)?;
        let [width, decoder] = latent.map_or([0; 2], |latent| [latent.width, latent.decoder_layers]);
        let [width_there, decoder_there] = found.latent.map_or([0; 2], |latent| [latent.width, latent.decoder_layers]);
        let sizes = [
            ("task.d_x", d_x, found.d_x),
            ("task.n_points", n_points, found.n_points),
            ("model.d_model", d_model, found.d_model),
            ("model.n_layers", n_layers, found.n_layers),
            ("model.n_heads", n_heads, found.n_heads),
            ("model.latent.width", width, width_there),
            ("model.latent.decoder_layers", decoder, decoder_there),
        ];
        let same = |(field, asked, there): (&str, usize, usize)| {
            check(field, format!("that of the saved weights ({there})"), asked, asked == there)
        };
        sizes.into_iter().try_for_each(same)
    }
}

impl TrainConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Self { steps, batch_size, shards, learning_rate, beta_1, beta_2, epsilon, clip_norm, .. } = *self;
        // A checkpoint's folder has eight digits.
        let most = 99_999_999;
        check("train.steps", format!("between 1 and {most}"), steps, (1..=most).contains(&steps))?;
        check("train.batch_size", "between 1 and 65536", batch_size, (1..=65536).contains(&batch_size))?;
        let up_to_batch = format!("between 1 and train.batch_size ({batch_size})");
        check("train.shards", up_to_batch, shards, (1..=batch_size).contains(&shards))?;
        let check_positive = |field, value: f64| {
            let range = format!("a finite number above 0 in f32 ({:.2e} to {:.2e})", f32::MIN_POSITIVE, f32::MAX);
            check(field, range, format!("{value:?}"), value > 0.0 && (value as f32).is_normal())
        };
        check_positive("train.learning_rate", learning_rate)?;
        self.schedule.check()?;
        let check_share = |field, value: f64| {
            check(field, "at least 0 and below 1", format!("{value:?}"), (0.0..1.0).contains(&value))
        };
        check_share("train.beta_1", beta_1)?;
        check_share("train.beta_2", beta_2)?;
        check_positive("train.epsilon", epsilon)?;
        if let Some(MuonConfig { momentum }) = self.muon {
            check_share("train.muon.momentum", momentum)?;
        }
        let some = clip_norm as f32 >= f32::MIN_POSITIVE;
        check("train.clip_norm", "above 0 in f32 (inf for no clipping)", format!("{clip_norm:?}"), some)?;
        check("train.log_every", "at least 1", self.log_every, self.log_every >= 1)
    }
}

impl CheckpointConfig {
    /// Whether a run of `steps` steps is saved after `step` of them.
    pub fn is_due(&self, step: usize, steps: usize) -> bool {
        let dense = step < self.every && (step == 0 || step.is_power_of_two());
        dense || step.is_multiple_of(self.every) || step == steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn checkpoints_are_dense_early_and_regular_later() {
        let schedule = CheckpointConfig { every: 10, full: 1 };
        let due: Vec<_> = (0..=33).filter(|&step| schedule.is_due(step, 33)).collect();
        assert_eq!(due, [0, 1, 2, 4, 8, 10, 20, 30, 33]);
    }

    #[test]
    fn identity_is_of_what_cannot_be_computed_again() {
        let config = Config::resolve(&Source::named("base"), &[]).unwrap();
        let with = |set: &str| Config::resolve(&Source::named("base"), &[set.to_owned()]).unwrap().identity();
        assert_eq!(with("name=\"other\""), config.identity());
        assert_eq!(with("checkpoints.full=7"), config.identity());
        assert_eq!(with("eval.prompts_per_concept=7"), config.identity());
        assert_eq!(with("probe.neighbours=7"), config.identity());
        assert_ne!(with("checkpoints.every=7"), config.identity());
        assert_ne!(with("seed=1"), config.identity());
        let tuned = |run: &str, step, weights: &str, free| {
            let (run, weights) = (run.to_owned(), weights.to_owned());
            let finetune = Some(FinetuneConfig { run, step, weights, free });
            Config { finetune, ..config.clone() }.identity()
        };
        assert_eq!(tuned("here", 1, "ab", Free::All), tuned("there", 2, "ab", Free::All));
        assert_ne!(tuned("here", 1, "ab", Free::All), tuned("here", 1, "cd", Free::All));
        assert_ne!(tuned("here", 1, "ab", Free::All), tuned("here", 1, "ab", Free::First(1)));
        assert_ne!(tuned("here", 1, "ab", Free::All), config.identity());
        assert_ne!(with("task.noise_variance=0.02"), config.identity());
    }

    #[test]
    fn the_layers_that_are_free_are_one_field() {
        let config = Config::resolve(&Source::named("base"), &[]).unwrap();
        for free in [Free::All, Free::First(2), Free::ReadOut] {
            let finetune = FinetuneConfig { run: "a".to_owned(), step: 1, weights: "ab".to_owned(), free };
            let fields = Config { finetune: Some(finetune), ..config.clone() }.fields();
            assert_eq!(fields["finetune.free"], format!("{:?}", free.to_string()));
            assert!(!fields.contains_key("finetune.free.first"));
        }
    }
}
