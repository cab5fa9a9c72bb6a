//! What is measured on which models: presets, files, `extends` and `--set`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data::{TextFile, TextSettings, TextTask, TextTaskConfig};
use probe::{EvalConfig, ProbeConfig, Study};
use run::{ConfigError, apply, check_name, lay_over, read_as};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::PretrainedError;
use crate::lora::{FinetuneConfig, Free};
use crate::material::{Material, files_at, material};

/// The presets built into the program, by name.
pub const PRESETS: [(&str, &str); 3] = [
    ("base", include_str!("../../../experiments/pretrained/base.toml")),
    ("bitwise", include_str!("../../../experiments/pretrained/bitwise.toml")),
    ("part-of-speech", include_str!("../../../experiments/pretrained/part-of-speech.toml")),
];

/// What is measured on which models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LmConfig {
    /// Name of the run.
    pub name: String,
    /// Seed of every prompt.
    pub seed: u64,
    /// The folders of the models: steps of one training in their order.
    #[serde(default)]
    pub models: Vec<PathBuf>,
    /// How the model was tuned before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Tuned>,
    /// The task of text.
    pub task: Table,
    /// How accuracy is measured.
    pub eval: EvalConfig,
    /// How the concept is read.
    pub probe: ProbeConfig,
    /// How adapters are tuned, where they are.
    pub finetune: FinetuneConfig,
}

/// How a model was tuned before it was measured. Its adapters lie in the run's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// The run whose model and task it was.
    pub run: String,
    /// The layers that were tuned.
    pub free: Free,
}

/// A configuration whose every field was checked.
#[derive(Clone, Debug)]
pub struct LmExperiment {
    /// As it was read.
    pub config: LmConfig,
    /// The settings of its task.
    pub text: TextSettings,
    /// What is asked.
    pub study: Study,
    /// The files that its task was made from.
    pub(crate) corpora: Material,
}

impl LmConfig {
    /// Reads a preset or a file, lays it over what it extends, and applies `sets` in order.
    ///
    /// # Errors
    /// When something is not there, not TOML, or the result has a missing, unknown or mistyped field.
    pub fn resolve(name: &str, sets: &[String]) -> Result<Self, ConfigError> {
        let mut table = read(name)?;
        if let Some(extended) = table.remove("extends") {
            let Value::String(base) = &extended else {
                return Err(out_of_range("extends", "the name of a preset or file", extended));
            };
            let beside = Path::new(name).parent().unwrap_or(Path::new("")).join(base);
            let preset = PRESETS.iter().any(|(preset, _)| preset == base);
            let mut below = read(if preset { base } else { beside.to_str().unwrap_or(base) })?;
            if below.contains_key("extends") {
                return Err(out_of_range("extends", "the name of a preset or file that extends no other", extended));
            }
            lay_over(&mut below, table);
            table = below;
        }
        sets.iter().try_for_each(|set| apply(&mut table, set))?;
        read_as(table)
    }

    /// The same with `sets` applied in order.
    ///
    /// # Errors
    /// When one is no change of a field, or the result has a missing, unknown or mistyped field.
    pub fn changed(&self, sets: &[String]) -> Result<Self, ConfigError> {
        let mut table: Table = self.to_toml().parse().expect("a configuration that was written as TOML is TOML");
        sets.iter().try_for_each(|set| apply(&mut table, set))?;
        read_as(table)
    }

    /// Checks every field, and reads the material of the task.
    ///
    /// # Errors
    /// When a field is outside its range, or the material cannot be used.
    pub fn build(self) -> Result<LmExperiment, ConfigError> {
        check_name(&self.name)?;
        self.finetune.check()?;
        let task = TextTaskConfig::read(&self.task)?;
        let corpora = RefCell::new(Material::new());
        let read = |path: &Path| {
            let files = read_files(path)?;
            corpora.borrow_mut().extend(material([&path.to_owned()], |_| true).map_err(std::io::Error::other)?);
            Ok(files)
        };
        let built: Arc<dyn TextTask> = task.build(&read)?;
        let study = Study::of_text(self.seed, built, self.eval.clone(), self.probe.clone(), &task.settings.shots)?;
        Ok(LmExperiment { text: task.settings, study, config: self, corpora: corpora.into_inner() })
    }

    /// Makes every path one that means the same from every folder.
    ///
    /// # Errors
    /// When one is no UTF-8, for a configuration is text.
    pub(crate) fn name_paths_wholly(&mut self) -> Result<(), PretrainedError> {
        let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let text = |path: &Path| {
            let whole = whole(path);
            let text = whole.to_str().map(str::to_owned);
            text.ok_or_else(|| PretrainedError::out_of_range("--model", "a path in UTF-8", whole.display()))
        };
        for path in &mut self.models {
            *path = text(path)?.into();
        }
        for field in ["corpus", "file"] {
            if let Some(Value::String(path)) = self.task.get_mut(field) {
                *path = text(Path::new(path))?;
            }
        }
        Ok(())
    }

    /// As a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration that was read as TOML is TOML")
    }
}

/// A field whose value is outside its range.
pub(crate) fn out_of_range(field: impl Into<String>, range: impl Into<String>, value: impl ToString) -> ConfigError {
    ConfigError::OutOfRange { field: field.into(), range: range.into(), value: value.to_string() }
}

/// The fields of a preset, or else of the file at that path.
fn read(name: &str) -> Result<Table, ConfigError> {
    let preset = PRESETS.iter().find(|(preset, _)| *preset == name);
    let text = match preset {
        Some((_, text)) => (*text).to_owned(),
        None => std::fs::read_to_string(name).map_err(|error| ConfigError::NotFound {
            field: "config".into(),
            found: name.into(),
            presets: PRESETS.map(|(name, _)| name).join(", ").into(),
            reason: error.to_string(),
        })?,
    };
    text.parse()
        .map_err(|error: toml::de::Error| ConfigError::Syntax { origin: name.to_owned(), reason: error.to_string() })
}

/// The file at a path, or all files of the folder there by name, with what they hold.
fn read_files(path: &Path) -> std::io::Result<Vec<TextFile>> {
    files_at(path)?.into_iter().map(|path| Ok(TextFile { bytes: std::fs::read(&path)?, path })).collect()
}
