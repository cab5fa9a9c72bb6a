//! What the models of a run are asked about another task than they were trained on.
//!
//! It has a folder of its own inside the run's, with a configuration, tables, figures and a report, but no checkpoints: so it
//! can be reported and compared as a run can, and not trained.

use std::path::Path;

use data::{Legend, TaskRegistry};
use record::Lock;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::checks::{MOST_LETTERS, check, check_name};
use crate::resolve::{lay_over, read_as};
use crate::run_dir::CONFIG;
use crate::sealing::{listed, placeless};
use crate::{Config, ConfigError, Experiment, RunDir, RunError, Source};

/// The folder inside a run's.
const ON: &str = "on";

/// The file that says what a folder is.
const ASKED: &str = "asked.toml";

/// What that file says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Name of the run whose models were asked.
    run: String,
    /// The file that they were asked about.
    task: String,
}

/// What may stand in a file that a run is asked about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    task: Table,
    eval: Option<Table>,
    probe: Option<Table>,
}

impl RunDir {
    /// What `home`, this run's own experiment, becomes with the task in `file`: the fields of its sections `task`, `eval` and
    /// `probe` are laid over the run's. It is named as the file.
    ///
    /// # Errors
    /// When the file cannot be read, a value is out of range, or the model cannot read such prompts.
    pub fn other_task(
        &self,
        home: &Experiment,
        file: &Path,
        registry: &TaskRegistry,
    ) -> Result<Experiment, ConfigError> {
        let mut whole = home.config.to_table();
        let of_task = |error| match error {
            ConfigError::NotFound { found, reason, .. } if *found == file.display().to_string() => {
                ConfigError::NotFound { field: "--task".into(), found, presets: "".into(), reason }
            }
            error => error,
        };
        let part = Source::File(file.to_owned()).part(whole.get("task")).map_err(of_task)?;
        if !part.contains_key("task") {
            let range = format!("there in {}, with what differs from the run's own", file.display());
            let (field, value) = ("the section [task]".to_owned(), "absent".to_owned());
            return Err(ConfigError::OutOfRange { field, range, value });
        }
        let Other { task, eval, probe } = read_as(part)?;
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let joined = format!("{}-{ON}-{name}", home.config.name);
        let range = format!(
            "a file whose name without its ending has letters, digits, '-' or '_', at most {} together with the run's name",
            MOST_LETTERS - "--".len() - ON.len()
        );
        check("--task", range, format!("{name:?}"), check_name(name).is_ok() && check_name(&joined).is_ok())?;
        // What an earlier file of prompts needed is nothing that another one has.
        if let (Some(Value::Table(own)), true) = (whole.get_mut("task"), task.contains_key("file")) {
            own.retain(|field, _| field != "sha256" && field != "division");
        }
        let sections = [("task", Some(task)), ("eval", eval), ("probe", probe)];
        let sections = sections.into_iter().filter_map(|(name, fields)| Some((name.to_owned(), fields?.into())));
        let other = sections.chain([("name".to_owned(), Value::String(joined))]).collect();
        lay_over(&mut whole, other);
        let experiment = Config::complete(whole)?.build(registry)?;
        let (found, own) = (&experiment.architecture, &home.architecture);
        check("task.d_x", format!("that of the model ({})", own.d_x), found.d_x, found.d_x == own.d_x)?;
        let range = format!("at most that of the model ({})", own.n_points);
        check("task.n_points", range, found.n_points, found.n_points <= own.n_points)?;
        Ok(experiment)
    }

    /// The folder for what this run is asked about the task in `file`, of which `other` was made. It is made if it is not there.
    ///
    /// # Errors
    /// When it is there and was made with other settings.
    pub fn place_of(&self, _lock: &Lock, other: &Experiment, file: &Path) -> Result<Self, RunError> {
        let name = file.file_stem().unwrap_or_default();
        let path = self.path().join(ON).join(name);
        if path.join(CONFIG).is_file() {
            let place = Self::open(&path)?;
            let (asked, now) = (place.config()?.to_table(), other.config.to_table());
            let changes = record::FieldChange::between(&placeless(&asked), &placeless(&now));
            let is_moved = changes.is_empty() && asked != now;
            // Before the run was lengthened, or what the task names was moved.
            if is_moved || self.earlier_configs(&other.config)?.iter().any(|earlier| earlier.to_table() == asked) {
                place.replace_config(&other.config)?;
            } else if !changes.is_empty() {
                return Err(RunError::AskedOtherwise { path, changes: listed(&changes) });
            }
            return Ok(place);
        }
        self.folder().create_inside(ON)?;
        let place = Self::at(record::Folder::create(&path)?.path().to_owned());
        let asked = Asked { run: self.config()?.run_name(), task: file.display().to_string() };
        place.folder().write_toml(ASKED, &asked)?;
        place.folder().write_toml(Legend::FILE, &Legend::of(other.study.task.pairs().as_ref()))?;
        place.write_sealed(&other.config, &[])?;
        Ok(place)
    }

    /// Removes what this run was asked.
    pub(crate) fn forget_asked(&self) -> Result<(), RunError> {
        let path = self.path().join(ON);
        if path.exists() { Ok(record::remove_folder(&path)?) } else { Ok(()) }
    }

    /// Errors unless models are trained in this folder.
    ///
    /// # Errors
    /// When another run was asked here. Says how it is asked more.
    pub(crate) fn check_own(&self) -> Result<(), RunError> {
        match self.folder().read_toml::<Asked>(ASKED)? {
            None => Ok(()),
            Some(Asked { run, task }) => Err(RunError::Asked { path: self.path().to_owned(), run, task }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_another_shape_is_refused_with_what_the_model_can_read() {
        let place = tempfile::tempdir().unwrap();
        let registry = TaskRegistry::builtin();
        let home = Config::resolve(&Source::named("smoke"), &[]).unwrap().build(&registry).unwrap();
        let run = RunDir::create(place.path(), &home).unwrap();
        let file = place.path().join("other.toml");
        let asked = |text: &str| {
            std::fs::write(&file, text).unwrap();
            run.other_task(&home, &file, &registry)
        };
        let other = asked("task.noise_variance = 1\neval.prompts_per_concept = 3").unwrap();
        assert_eq!((other.config.name.as_str(), other.config.eval.prompts_per_concept), ("smoke-on-other", 3));
        assert_eq!(other.config.train, home.config.train);
        assert_eq!(asked("task.n_points = 3").unwrap().study.n_points(), 3);
        for (text, refusal) in [
            ("task.d_x = 5", "task.d_x must be that of the model (4), but is 5"),
            ("task.n_points = 7", "task.n_points must be at most that of the model (6), but is 7"),
            ("task.noise_variance = -1", "task.noise_variance must be a finite number of at least 0"),
            ("task = {}\ntrain.steps = 7", "unknown field `train`, expected one of `task`, `eval`, `probe`"),
            ("probe.neighbours = 7", "the section [task] must be there in"),
        ] {
            let error = asked(text).unwrap_err().to_string();
            assert!(error.starts_with(refusal), "{error}");
        }
    }
}
