//! What a run's folder says it was made with, and that nobody changed it since.
//!
//! `config.toml` is for people and `seal.toml` holds the same values, so that an edit is seen and named. A run that was
//! made before there were seals has a hash of its configuration in its folder's name, as long as that keeps its name.

use std::fs;

use data::TaskRegistry;
use record::{FieldChange, Lock, RecordError, Seal};
use toml::{Table, Value};

use crate::elsewhere::without_place;
use crate::resolve::read_as;
use crate::run_dir::CONFIG;
use crate::version::{VERSION, identity_of_version_1, migrate, version};
use crate::{Config, ConfigError, Experiment, RunDir, RunError};

impl RunDir {
    /// What was run.
    ///
    /// # Errors
    /// When the configuration is damaged, was changed since it was sealed, or names a task that `registry` does not know; when
    /// the folder has no models of its own.
    pub fn experiment(&self, registry: &TaskRegistry) -> Result<Experiment, RunError> {
        self.check_own()?;
        let experiment = self.config()?.build(registry).map_err(|error| self.bad_config(error))?;
        self.generator(&experiment)?;
        Ok(experiment)
    }

    /// The configuration that the run was made with, whether or not this program knows its task.
    ///
    /// # Errors
    /// When it is damaged, or was changed since it was sealed.
    pub fn config(&self) -> Result<Config, RunError> {
        let found = self.config_table()?;
        self.check_seal(&found)?;
        self.config_of(found)
    }

    /// Takes the right to write, if the configuration is the one that the run was made with. A run without a seal gets one.
    ///
    /// # Errors
    /// When another process has it, which is named, or the configuration is damaged or was changed.
    pub fn lock(&self) -> Result<Lock, RunError> {
        let lock = self.folder().lock()?;
        let found = self.config_table()?;
        if !self.check_seal(&found)? {
            self.check_name(&found)?;
            Seal::of(found).write(self.folder())?;
        }
        Ok(lock)
    }

    /// The configuration that the run was made with: the sealed one, where there is a seal that can be read.
    pub(crate) fn sealed_config(&self) -> Result<Config, RunError> {
        let sealed = Seal::read(self.folder()).ok().flatten().map(|seal| seal.values().clone());
        self.config_of(sealed.map_or_else(|| self.config_table(), Ok)?)
    }

    /// Writes the configuration and its seal, and what else belongs to them. The configuration gets its name last: a folder
    /// that has one is a whole run to whoever looks for it at the same time.
    pub(crate) fn write_sealed(&self, config: &Config, more: &[(&str, &[u8])]) -> Result<(), RunError> {
        let text = config.to_toml();
        // Of the text, which has no field that is absent.
        let seal = Seal::of(text.parse().expect("a configuration that was written as TOML is TOML"));
        let seal = seal.to_toml();
        let both = [(Seal::FILE, seal.as_bytes()), (CONFIG, text.as_bytes())];
        let files: Vec<_> = more.iter().chain(&both).map(|(name, bytes)| (self.path().join(name), *bytes)).collect();
        Ok(record::write_together(&files)?)
    }

    /// `config.toml` as it is.
    pub(crate) fn config_table(&self) -> Result<Table, RunError> {
        let path = self.path().join(CONFIG);
        let text = fs::read_to_string(&path).map_err(|error| RecordError::io("read", &path, error))?;
        let syntax =
            |error: toml::de::Error| ConfigError::Syntax { origin: CONFIG.to_owned(), reason: error.to_string() };
        text.parse().map_err(|error| self.bad_config(syntax(error)))
    }

    /// Whether there is a seal. A configuration of a newer program is not one that was changed, and is refused as such. Where
    /// the file or program of a task lies may be changed: it may have been moved.
    ///
    /// # Errors
    /// When it says something else than `found`.
    pub(crate) fn check_seal(&self, found: &Table) -> Result<bool, RunError> {
        version(found).map_err(|error| self.bad_config(error))?;
        let Some(seal) = Seal::read(self.folder())? else { return Ok(false) };
        match FieldChange::between(&placeless(seal.values()), &placeless(found)).as_slice() {
            [] => Ok(true),
            changes => Err(RunError::Changed { path: self.path().join(CONFIG), changes: listed(changes) }),
        }
    }

    /// Errors if the folder has the name that its program gave it, and the hash there is that of another configuration.
    fn check_name(&self, found: &Table) -> Result<(), RunError> {
        let config = self.config_of(found.clone())?;
        let identity = match version(found) {
            Ok(1) => identity_of_version_1(found),
            Ok(VERSION) => config.identity(),
            // Of what counts in the versions between nothing is known any more.
            _ => return Ok(()),
        };
        let path = self.path().canonicalize().unwrap_or_else(|_| self.path().to_owned());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let hash = name.strip_prefix(config.name.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let is_hash = |hash: &&str| hash.len() == 8 && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        // A run that was lengthened keeps the name that it had before.
        let earlier = self.earlier_configs(&config)?;
        let was = |hash: &str| earlier.iter().any(|earlier| earlier.identity() == hash);
        match hash.filter(is_hash) {
            Some(expected) if expected != identity && !was(expected) => Err(RunError::ChangedSince {
                path: self.path().join(CONFIG),
                expected: expected.to_owned(),
                found: identity,
            }),
            _ => Ok(()),
        }
    }

    fn config_of(&self, mut table: Table) -> Result<Config, RunError> {
        if table.contains_key("models") {
            return Err(RunError::OfLanguageModels { path: self.path().to_owned() });
        }
        migrate(&mut table).and_then(|()| read_as(table)).map_err(|error| self.bad_config(error))
    }

    fn bad_config(&self, error: ConfigError) -> RunError {
        RunError::Config { path: self.path().join(CONFIG), error }
    }
}

/// A configuration but for where things lie.
pub(crate) fn placeless(config: &Table) -> Table {
    let mut config = config.clone();
    if let Some(Value::Table(task)) = config.get_mut("task") {
        without_place(task);
    }
    config
}

pub(crate) fn listed(changes: &[FieldChange]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Source;
    use crate::version::OF_VERSION_1;

    fn smoke() -> Config {
        Config::resolve(&Source::named("smoke"), &[]).unwrap()
    }

    /// The folder `name` with the configuration that version 1 wrote for the smoke preset, `changed`.
    fn old_run(root: &Path, name: &str, changed: impl Fn(String) -> String) -> RunDir {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join(CONFIG), changed(OF_VERSION_1.to_owned())).unwrap();
        RunDir::open(&root.join(name)).unwrap()
    }

    #[test]
    fn an_old_run_opens_and_is_sealed_when_it_is_written_to() {
        let root = tempfile::tempdir().unwrap();
        // Version 1 named the folder of the smoke preset so.
        for name in ["smoke-987aa00a", "smoke-renamed", "renamed-00000000"] {
            let run = old_run(root.path(), name, |text| text);
            let text = fs::read(run.path().join(CONFIG)).unwrap();
            assert_eq!(run.experiment(&TaskRegistry::builtin()).unwrap().config, smoke());
            assert_eq!(Seal::read(run.folder()).unwrap(), None, "reading writes nothing");
            drop(run.lock().unwrap());
            assert!(Seal::read(run.folder()).unwrap().is_some());
            drop(run.lock().unwrap());
            assert_eq!(fs::read(run.path().join(CONFIG)).unwrap(), text);
        }
    }

    #[test]
    fn an_old_run_whose_configuration_was_changed_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let longer = |text: String| text.replace("steps = 40", "steps = 50");
        let run = old_run(root.path(), "smoke-987aa00a", longer);
        let refusal = run.lock().unwrap_err().to_string();
        assert!(refusal.contains("was changed since training") && refusal.contains("is 987aa00a"), "{refusal}");
        assert_eq!(Seal::read(run.folder()).unwrap(), None);
        // Without the name there is nothing that it could be checked against.
        drop(old_run(root.path(), "smoke", longer).lock().unwrap());
    }

    #[test]
    fn an_edited_configuration_is_refused_with_field_and_both_values() {
        let root = tempfile::tempdir().unwrap();
        let registry = TaskRegistry::builtin();
        let run = RunDir::create(root.path(), &smoke().build(&registry).unwrap()).unwrap();
        let path = run.path().join(CONFIG);
        let text = fs::read_to_string(&path).unwrap();
        let same = text.replace("w_std = 1.0", "w_std = 1 # standard deviation");
        fs::write(&path, same).unwrap();
        run.experiment(&registry).unwrap();
        fs::write(&path, text.replace("neighbours = 10", "neighbours = 20")).unwrap();
        for refusal in [run.experiment(&registry).map(drop), run.lock().map(drop)].map(Result::unwrap_err) {
            let message = refusal.to_string();
            assert!(message.contains("config.toml was changed"), "{message}");
            assert!(message.contains("probe.neighbours must be 10, but is 20"), "{message}");
        }
    }
}
