//! Other settings of what is measured, for a run that is there: its weights stay, its tables are made anew.

use data::TaskRegistry;
use record::{AnyTable, FieldChange, Lock, Seal, remove_unfinished};

use crate::resolve::{apply, read_as};
use crate::run_dir::CONFIG;
use crate::{Config, ConfigError, Experiment, RunDir, RunError};

impl RunDir {
    /// What the run is with `sets` (`path=value`) laid over its configuration. Nothing is written.
    ///
    /// # Errors
    /// When the configuration is damaged or was changed, a set is none, or a field that is set belongs to what was
    /// trained: seed, task, model, training, the steps that are saved, what was continued from.
    pub fn with_sets(&self, sets: &[String], registry: &TaskRegistry) -> Result<Experiment, RunError> {
        let before = self.experiment(registry)?;
        let refused = |error| RunError::Refused { error };
        let mut table = before.config.to_table();
        sets.iter().try_for_each(|set| apply(&mut table, set)).map_err(refused)?;
        let config: Config = read_as(table).map_err(refused)?;
        let trained = |change: &&FieldChange| {
            let measured = ["name", "eval.", "probe.", "checkpoints.full"];
            !measured.iter().any(|field| change.field.starts_with(field))
        };
        let changes = FieldChange::between(&before.config.to_table(), &config.to_table());
        if let Some(change) = changes.iter().find(trained) {
            let ([sealed, found], field) = (change.sides(), change.field.clone());
            let range = format!("{sealed} as in training, for only what is measured can be changed");
            return Err(refused(ConfigError::OutOfRange { field, range, value: found.to_owned() }));
        }
        config.build(registry).map_err(refused)
    }

    /// Makes `experiment`, which [`with_sets`](Self::with_sets) gave, the configuration of the run, and empties `tables`:
    /// rows that were measured with other settings, as were parts of unfinished measurements and what the run was asked about
    /// other tasks. They go first, so that no row is ever taken for one of the new settings.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remeasure(
        &self,
        _lock: &Lock,
        experiment: &Experiment,
        tables: &[Box<dyn AnyTable>],
    ) -> Result<(), RunError> {
        tables.iter().try_for_each(|table| table.clear())?;
        remove_unfinished(self.folder())?;
        self.forget_asked()?;
        self.replace_config(&experiment.config)
    }

    /// Makes `experiment`, by which everything is measured as before, the configuration of the run. All tables stay.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn rename(&self, _lock: &Lock, experiment: &Experiment) -> Result<(), RunError> {
        self.replace_config(&experiment.config)
    }

    /// Makes `config` the configuration of the run, for whoever has the right to write. The seal goes first, so that wherever
    /// this stops no configuration stands beside the seal of another.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn replace_config(&self, config: &Config) -> Result<(), RunError> {
        record::remove_file(&self.path().join(Seal::FILE))?;
        let text = config.to_toml();
        self.folder().write(CONFIG, text.as_bytes())?;
        Ok(Seal::of(text.parse().expect("a configuration that was written as TOML is TOML")).write(self.folder())?)
    }
}

#[cfg(test)]
mod tests {
    use record::faults::{Fault, Watch};

    use super::*;
    use crate::Source;

    /// A table of some measurement.
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct MetricRow {
        step: usize,
    }

    impl record::Row for MetricRow {
        const FILE: &'static str = "metrics.csv";

        fn step(&self) -> Option<usize> {
            Some(self.step)
        }
    }

    #[test]
    fn what_is_measured_can_be_changed_and_what_was_trained_not() {
        let (root, registry) = (tempfile::tempdir().unwrap(), TaskRegistry::builtin());
        let smoke = Config::resolve(&Source::named("smoke"), &[]).unwrap().build(&registry).unwrap();
        let run = RunDir::create(root.path(), &smoke).unwrap();
        let with = |set: &str| run.with_sets(&[set.to_owned()], &registry);
        for (set, words) in [
            ("seed=1", "seed must be 0 as in training"),
            ("task.noise_variance=0.5", "task.noise_variance must be 0.01 as in training"),
            ("checkpoints.every=5", "checkpoints.every must be 10 as in training"),
            ("probe.neighbours=0", "probe.neighbours must be between 1"),
            ("probe.colour=red", "colour"),
            ("version=1", "version must be 2 as in training"),
            ("probe", "PATH=VALUE"),
        ] {
            let refusal = with(set).unwrap_err();
            assert!(matches!(refusal, RunError::Refused { .. }) && refusal.to_string().contains(words), "{refusal}");
        }
        run.table().append(&[MetricRow { step: 0 }]).unwrap();
        let other = with("probe.neighbours=7").unwrap();
        let remeasure = || {
            let table: Box<dyn AnyTable> = Box::new(run.table::<MetricRow>());
            run.lock().and_then(|lock| run.remeasure(&lock, &other, &[table]))
        };
        // Wherever it stops, the run can be opened, and remeasured again.
        for number in 1.. {
            let watch = Watch::with(run.path(), number, Fault::Cut);
            let stopped = remeasure().is_err();
            drop(watch);
            run.experiment(&registry).unwrap();
            if !stopped {
                break;
            }
        }
        remeasure().unwrap();
        assert!(run.table::<MetricRow>().read().unwrap().is_empty());
        assert_eq!(run.experiment(&registry).unwrap().config, other.config);
        assert_eq!(Seal::read(run.folder()).unwrap().unwrap().values()["probe"]["neighbours"].as_integer(), Some(7));
        assert_eq!(RunDir::create(root.path(), &other).unwrap().path(), run.path());
        assert!(RunDir::create(root.path(), &smoke).is_err());
    }
}
