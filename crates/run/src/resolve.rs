//! From what was asked for to a complete configuration: presets, files, `extends`, and `--set`.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::checks::check;
use crate::version::{VERSION, migrate};
use crate::{Config, ConfigError, elsewhere};

/// What a configuration is called where none can be read.
const CONFIG: &str = "config";

/// The presets built into the program, by name.
pub const PRESETS: [(&str, &str); 6] = [
    ("base", include_str!("../../../experiments/base.toml")),
    ("two-bases", include_str!("../../../experiments/two-bases.toml")),
    ("quickstart", include_str!("../../../experiments/quickstart.toml")),
    ("half", include_str!("../../../experiments/half.toml")),
    ("smoke", include_str!("../../../experiments/smoke.toml")),
    ("paper", include_str!("../../../experiments/paper.toml")),
];

/// Steps from a configuration to one that extends nothing, at most: a variant of an experiment, the experiment, the
/// `two-bases` whose model and optimizer it takes, and `base`.
const MOST_EXTENDS: usize = 3;

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One of [`PRESETS`].
    Preset {
        /// Its name.
        name: &'static str,
        /// Its TOML.
        text: &'static str,
    },
    /// A file.
    File(PathBuf),
}

impl Source {
    /// The preset of that name, or else the file at that path.
    pub fn named(name: &str) -> Self {
        match PRESETS.iter().find(|(preset, _)| *preset == name) {
            Some(&(name, text)) => Self::Preset { name, text },
            None => Self::File(PathBuf::from(name)),
        }
    }

    /// Its fields, laid over those of what it extends, in the version of today. A sweep may extend a whole experiment, and
    /// so be `more` steps away from what extends nothing.
    pub(crate) fn table(&self, more: usize) -> Result<Table, ConfigError> {
        self.within(MOST_EXTENDS + more, &[])
    }

    /// What `read` makes of this source with `sets`. What has another shape without any of them is the file's fault, and names
    /// it.
    pub(crate) fn named_in<T>(
        &self,
        sets: &[String],
        read: impl Fn(&[String]) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        read(sets).map_err(|error| match (self, &error, read(&[])) {
            (Self::File(path), ConfigError::Shape { reason }, Err(ConfigError::Shape { reason: alone }))
                if *reason == alone =>
            {
                ConfigError::Shape { reason: format!("{}: {reason}", path.display()) }
            }
            _ => error,
        })
    }

    /// Its fields alone, which are to be laid over a configuration with the task `before`.
    pub(crate) fn part(&self, before: Option<&Value>) -> Result<Table, ConfigError> {
        let mut table = self.read()?;
        self.place(&mut table, before);
        Ok(table)
    }

    fn name(&self) -> String {
        match self {
            Self::Preset { name, .. } => format!("preset {name}"),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn read(&self) -> Result<Table, ConfigError> {
        let text = match self {
            Self::Preset { text, .. } => (*text).to_owned(),
            Self::File(path) => read_file(path)?,
        };
        let syntax = |error: toml::de::Error| ConfigError::Syntax { origin: self.name(), reason: error.to_string() };
        let table = text.parse().map_err(syntax)?;
        refuse_dates(&table, "")?;
        Ok(table)
    }

    /// As [`table`](Self::table), where what extends nothing is at most `levels` steps away. `before` are the files that led
    /// here.
    fn within(&self, levels: usize, before: &[&Self]) -> Result<Table, ConfigError> {
        let mut table = self.read()?;
        let Some(name) = take_extends(&mut table)? else {
            self.place(&mut table, None);
            // What is built into the program is of today.
            match self {
                Self::Preset { .. } => drop(table.insert("version".to_owned(), Value::Integer(VERSION.into()))),
                Self::File(_) => migrate(&mut table)?,
            }
            return Ok(table);
        };
        // A part of a configuration could not be brought to another version.
        if let Some(version) = table.get("version").filter(|version| version.as_integer() != Some(VERSION.into())) {
            check("version", format!("{VERSION} or absent beside extends"), version, false)?;
        }
        let (next, so_far) = (self.beside(&name), [before, &[self]].concat());
        if let Some(first) = so_far.iter().position(|source| **source == next) {
            let files = so_far[first..].iter().copied().chain([&next]).map(Self::name).collect();
            return Err(ConfigError::Circle { files });
        }
        if levels == 0 {
            return Err(ConfigError::Chain { most: before.len(), found: name });
        }
        let mut extended = next.within(levels - 1, &so_far).map_err(|error| self.extending(&name, error))?;
        self.place(&mut table, extended.get("task"));
        lay_over(&mut extended, table);
        Ok(extended)
    }

    /// Why what this source extends under `name` cannot be read, in its words.
    fn extending(&self, name: &str, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::NotFound { field, presets, reason, .. } if &*field == CONFIG => {
                let field = format!("extends in {}", self.name()).into();
                ConfigError::NotFound { field, found: name.into(), presets, reason }
            }
            error => error,
        }
    }

    /// Sets the paths of the task in `table`, which this source has, and of what a sweep lays over it. `before` is the task that
    /// it is itself laid over.
    pub(crate) fn place(&self, table: &mut Table, before: Option<&Value>) {
        let Self::File(path) = self else { return };
        // A bare name lies in the folder that one is in, which has the name `.`.
        let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let kind_of = |task: Option<&Value>| task?.get("kind")?.as_str().map(str::to_owned);
        let kind = kind_of(table.get("task")).or_else(|| kind_of(before));
        if let Some(Value::Table(task)) = table.get_mut("task") {
            elsewhere::place(task, kind.as_deref(), beside);
        }
        for run in table.get_mut("runs").and_then(Value::as_array_mut).into_iter().flatten() {
            let kind = kind_of(run.get("task")).or_else(|| kind.clone());
            if let Some(Value::Table(task)) = run.get_mut("task") {
                elsewhere::place(task, kind.as_deref(), beside);
            }
        }
        if let Some(Value::Table(grid)) = table.get_mut("grid") {
            elsewhere::place_grid(grid, kind.as_deref(), beside);
        }
    }

    /// What `extends` in this source names: a preset, or a file beside this one.
    fn beside(&self, name: &str) -> Self {
        match (Self::named(name), self) {
            (Self::File(path), Self::File(from)) => Self::File(from.parent().unwrap_or(Path::new("")).join(path)),
            (source, _) => source,
        }
    }
}

impl Config {
    /// Reads `source`, lays it over what it extends, and applies `sets` (`path=value`) in order.
    ///
    /// The fields of a section are laid over one by one, each as a whole; a task of another `kind` replaces the whole
    /// section.
    ///
    /// # Errors
    /// When something is not there, not TOML, extends over too many steps, or the result has a missing, unknown or
    /// mistyped field. Ranges are checked by [`Config::build`].
    pub fn resolve(source: &Source, sets: &[String]) -> Result<Self, ConfigError> {
        source.named_in(sets, |sets| {
            let mut table = source.table(0)?;
            sets.iter().try_for_each(|set| apply(&mut table, set))?;
            Self::complete(table)
        })
    }

    /// Reads a whole configuration, after what its writer need not say of a task is added.
    pub(crate) fn complete(mut table: Table) -> Result<Self, ConfigError> {
        elsewhere::complete(&mut table)?;
        read_as(table)
    }
}

/// Reads a table as a type whose fields it must have.
///
/// # Errors
/// When a field is missing, unknown or of another type.
pub fn read_as<T: DeserializeOwned>(table: Table) -> Result<T, ConfigError> {
    data::read_table(table, "").map_err(|reason| ConfigError::Shape { reason })
}

/// A name such as 2026-01-01 without quotes is a date in TOML.
fn refuse_dates(table: &Table, path: &str) -> Result<(), ConfigError> {
    table.iter().try_for_each(|(name, value)| match value {
        Value::Table(table) => refuse_dates(table, &format!("{path}{name}.")),
        Value::Datetime(date) => {
            check(&format!("{path}{name}"), "text in quotes, or a number", format!("the date {date}"), false)
        }
        _ => Ok(()),
    })
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::NotFound {
        field: CONFIG.into(),
        found: path.display().to_string().into(),
        presets: PRESETS.map(|(name, _)| name).join(", ").into(),
        reason: error.to_string(),
    })
}

fn take_extends(table: &mut Table) -> Result<Option<String>, ConfigError> {
    match table.remove("extends") {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(other) => Err(ConfigError::OutOfRange {
            field: "extends".to_owned(),
            range: "the name of a preset or file".to_owned(),
            value: other.to_string(),
        }),
    }
}

/// Lays the fields of `over` over those of `base`, section by section. A task of another `kind` replaces the whole section,
/// since it has other fields; kinds of models share theirs.
pub fn lay_over(base: &mut Table, over: Table) {
    for (section, value) in over {
        match (base.get_mut(&section), value) {
            (Some(Value::Table(below)), Value::Table(above)) if section != "task" || same_kind(below, &above) => {
                above.into_iter().for_each(|(field, value)| replace(below, field, value));
            }
            (_, value) => drop(base.insert(section, value)),
        }
    }
}

/// Replaces a field. A whole number in the place of another is that number: of a run's identity `0` and `0.0` are one.
fn replace(section: &mut Table, field: String, value: Value) {
    let value = match (section.get(&field), value) {
        (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    };
    section.insert(field, value);
}

fn same_kind(below: &Table, above: &Table) -> bool {
    above.get("kind").is_none_or(|kind| below.get("kind") == Some(kind))
}

/// Applies a `path=value`.
///
/// # Errors
/// When it is none, or the path leads through what is no section.
pub fn apply(table: &mut Table, set: &str) -> Result<(), ConfigError> {
    let parts = set.split_once('=').ok_or_else(|| "there is no '='".to_owned());
    let applied = parts.and_then(|(path, value)| insert(table, path, parse_value(value.trim())?));
    applied.map_err(|reason| ConfigError::Set { found: set.to_owned(), reason })
}

/// Puts `value` at a path with dots between its parts.
pub(crate) fn insert(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    let mut parts: Vec<&str> = path.trim().split('.').collect();
    let field = parts.pop().filter(|field| !field.is_empty()).ok_or("the path is empty")?;
    let mut section = table;
    for part in parts {
        let entry = section.get_mut(part).ok_or_else(|| format!("there is no section {part:?}"))?;
        section = entry.as_table_mut().ok_or_else(|| format!("{part:?} is not a section"))?;
    }
    replace(section, field.to_owned(), value);
    Ok(())
}

/// A TOML value; what is none is a string, so that names need no quotes. A number beyond TOML's integers is no name.
fn parse_value(text: &str) -> Result<Value, String> {
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match parsed {
        // No field is a date, and a name needs no quotes here.
        Some(Value::Datetime(_)) => Ok(Value::String(text.to_owned())),
        Some(value) => Ok(value),
        None if text.parse::<i128>().is_ok_and(|number| i64::try_from(number).is_err()) => {
            Err(format!("a whole number must be between {} and {}", i64::MIN, i64::MAX))
        }
        None => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, sets: &[&str]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experiment.toml");
        std::fs::write(&path, text).unwrap();
        Config::resolve(&Source::File(path), &sets.iter().map(|set| (*set).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_preset_is_complete() {
        for (name, _) in PRESETS {
            let config = Config::resolve(&Source::named(name), &[]).unwrap();
            config.build(&data::TaskRegistry::builtin()).unwrap();
        }
    }

    #[test]
    fn a_field_is_replaced_as_a_whole_and_its_neighbours_stay() {
        let config = resolve("extends = \"base\"\ntask.bases = { coordinates = [[0, 1], [1, 2]] }", &[]).unwrap();
        assert_eq!(config.task["bases"].as_table().unwrap().keys().collect::<Vec<_>>(), ["coordinates"]);
        assert_eq!(config.task["d_x"].as_integer(), Some(16));
    }

    #[test]
    fn a_task_of_another_kind_inherits_no_field() {
        let config = resolve("extends = \"base\"\ntask = { kind = \"mine\", size = 3 }", &[]).unwrap();
        assert_eq!(config.task.keys().collect::<Vec<_>>(), ["kind", "size"]);
    }

    #[test]
    fn a_whole_number_is_the_same_run_as_the_number() {
        let name = |value: &str| resolve("extends = \"smoke\"", &[value]).unwrap().run_name();
        assert_eq!(name("task.noise_variance=0"), name("task.noise_variance=0.0"));
        assert_ne!(name("task.noise_variance=0"), name("task.noise_variance=1"));
    }

    #[test]
    fn set_reaches_into_a_field_and_wins() {
        let sets = ["task.bases.blocks.rank=2", "train.schedule={kind=\"warm_up\", steps=3}", "name=plain-word"];
        let config = resolve("extends = \"base\"\nname = \"mine\"", &sets).unwrap();
        assert_eq!(config.task["bases"]["blocks"]["rank"].as_integer(), Some(2));
        assert_eq!(config.train.schedule, crate::Schedule::WarmUp { steps: 3 });
        assert_eq!(config.name, "plain-word");
    }

    #[test]
    fn a_name_is_no_date() {
        let refusal = resolve("extends = \"smoke\"\nname = 2026-01-01", &[]).unwrap_err().to_string();
        assert_eq!(refusal, "name must be text in quotes, or a number, but is the date 2026-01-01");
        assert_eq!(resolve("extends = \"smoke\"", &["name=2026-01-01"]).unwrap().name, "2026-01-01");
    }

    #[test]
    fn a_file_that_is_empty_is_named_and_a_set_is_not_blamed_on_it() {
        let refusal = resolve("", &[]).unwrap_err().to_string();
        assert!(refusal.contains("experiment.toml: missing field `name`"), "{refusal}");
        let refusal = resolve("extends = \"smoke\"", &["colour=3"]).unwrap_err().to_string();
        assert!(refusal.contains("colour") && !refusal.contains("experiment.toml"), "{refusal}");
    }

    #[test]
    fn files_that_extend_each_other_are_all_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let of = |name: &str, extends: &str| std::fs::write(path(name), format!("extends = {extends:?}")).unwrap();
        of("a.toml", "b.toml");
        of("b.toml", "a.toml");
        of("self.toml", "self.toml");
        let long = ["1.toml", "2.toml", "3.toml", "4.toml", "1.toml"];
        long.windows(2).for_each(|pair| of(pair[0], pair[1]));
        for circle in [&["a.toml", "b.toml", "a.toml"][..], &["self.toml", "self.toml"], &long] {
            let refusal = Config::resolve(&Source::File(path(circle[0])), &[]).unwrap_err().to_string();
            let files = circle.iter().map(|name| path(name).display().to_string()).collect::<Vec<_>>().join(" → ");
            assert_eq!(refusal, format!("extends must not lead in a circle, but does: {files}"));
        }
    }

    #[test]
    fn what_a_run_writes_resolves_to_itself() {
        let config = Config::resolve(&Source::named("paper"), &[]).unwrap();
        assert_eq!(resolve(&config.to_toml(), &[]).unwrap(), config);
    }
}
