//! How a run is found: by what its configuration says, whatever its folder is called.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data::Legend;
use record::{FieldChange, Folder, RecordError};
use toml::Table;

use crate::checkpoints::CHECKPOINTS;
use crate::run_dir::{CONFIG, START};
use crate::{Checkpoint, Config, Experiment, RunDir, RunError};

/// The runs in a folder, read once: as many can be asked for as there are, without reading all of them for each.
#[derive(Debug)]
pub struct Runs {
    root: PathBuf,
    by_identity: BTreeMap<String, Vec<(RunDir, Config)>>,
}

impl Runs {
    /// The runs in folders of `root`, by name. Folders that are no run, and runs that cannot be read, are passed over.
    ///
    /// # Errors
    /// When the disk fails; a folder that is not there has no runs.
    pub fn under(root: &Path) -> Result<Self, RunError> {
        let mut by_identity = BTreeMap::<_, Vec<_>>::new();
        for run in runs_in(root)? {
            let Ok(config) = run.sealed_config() else { continue };
            for earlier in run.earlier_configs(&config).unwrap_or_default() {
                by_identity.entry(earlier.identity()).or_default().push((run.clone(), earlier));
            }
            // First, so that a run which is what is asked for comes before one that was.
            by_identity.entry(config.identity()).or_default().insert(0, (run, config));
        }
        Ok(Self { root: root.to_owned(), by_identity })
    }

    /// The run of `experiment`, if it is there.
    ///
    /// # Errors
    /// When it is measured otherwise or was changed, or the experiment continues from weights and no run does.
    pub fn of(&self, experiment: &Experiment) -> Result<Option<RunDir>, RunError> {
        let found = self.of_config(&experiment.config)?;
        if found.is_none() && experiment.config.finetune.is_some() {
            return Err(RunError::NoStart { path: free_folder(&self.root, &experiment.config).join(START) });
        }
        Ok(found)
    }

    fn of_config(&self, config: &Config) -> Result<Option<RunDir>, RunError> {
        let mut runs: Vec<_> = self.by_identity.get(&config.identity()).into_iter().flatten().collect();
        // Earlier programs made a run of its own for every way of measuring, and for every name.
        runs.sort_by_key(|(_, there)| (!measuring_changes(there, config).is_empty(), there.name != config.name));
        let Some((run, there)) = runs.into_iter().next() else { return Ok(None) };
        let changes = measuring_changes(there, config);
        if changes.is_empty() {
            // Only what is sealed was compared, and nothing may come of it if that was changed.
            run.check_seal(&run.config_table()?)?;
            return Ok(Some(run.clone()));
        }
        Err(measured_otherwise(run, &changes))
    }
}

/// The runs whose folders lie in `root`, by name; none where there is no such folder.
///
/// # Errors
/// When the disk fails.
pub fn runs_in(root: &Path) -> Result<Vec<RunDir>, RunError> {
    let entries = match fs::read_dir(root) {
        // It is named when the folder cannot be made.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(|error| RecordError::io("read", root, error))?,
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths.iter().filter_map(|path| RunDir::open(path).ok()).collect())
}

impl RunDir {
    /// The run of `experiment` under `root`, made if it is not there: in `root/<name>-<identity>`, or in a folder with a
    /// number behind that where another run has the name.
    ///
    /// # Errors
    /// When the disk fails, the run is there but measured otherwise, or the experiment continues from weights and no run
    /// under `root` does.
    pub fn create(root: &Path, experiment: &Experiment) -> Result<Self, RunError> {
        Ok(Self::create_all(root, std::slice::from_ref(experiment))?.remove(0))
    }

    /// As [`create`](Self::create) for each of `experiments`, none of which is made if one is refused.
    pub fn create_all(root: &Path, experiments: &[Experiment]) -> Result<Vec<Self>, RunError> {
        let find = |runs: Runs| experiments.iter().map(|experiment| runs.of(experiment)).collect::<Result<Vec<_>, _>>();
        let found = find(Runs::under(root)?)?;
        if let Some(all) = found.into_iter().collect() {
            return Ok(all);
        }
        let _turn = Folder::create(root)?.lock_in_turn()?;
        // Another process may have made some meanwhile.
        let found = find(Runs::under(root)?)?;
        let make = |(run, experiment): (Option<Self>, &Experiment)| match run {
            Some(run) => Ok(run),
            None => Self::make(root, experiment, &[]),
        };
        found.into_iter().zip(experiments).map(make).collect()
    }

    /// As [`create`](Self::create), with the weights of `start` to continue from.
    pub fn create_from(root: &Path, experiment: &Experiment, start: &Checkpoint) -> Result<Self, RunError> {
        if let Some(run) = Runs::under(root)?.of_config(&experiment.config)? {
            return Ok(run);
        }
        let _turn = Folder::create(root)?.lock_in_turn()?;
        match Runs::under(root)?.of_config(&experiment.config)? {
            Some(run) => Ok(run),
            None => Self::make(root, experiment, &[(START, &model::encode(&start.architecture, &start.weights))]),
        }
    }

    /// Makes the run, for whoever has the right to write to `root`.
    ///
    /// # Errors
    /// When the disk fails, or `root` is a part of a run.
    fn make(root: &Path, experiment: &Experiment, more: &[(&str, &[u8])]) -> Result<Self, RunError> {
        record::check_outside_runs(root)?;
        let run = Self::at(free_folder(root, &experiment.config));
        run.folder().create_inside(CHECKPOINTS)?;
        run.folder().write_toml(Legend::FILE, &Legend::of(experiment.study.task.pairs().as_ref()))?;
        run.write_sealed(&experiment.config, more)?;
        Ok(run)
    }
}

/// Where a run of `config` can be made: what is begun and has no configuration yet is no run.
fn free_folder(root: &Path, config: &Config) -> PathBuf {
    let name = config.run_name();
    let numbered = (2..).map(|number| root.join(format!("{name}-{number}")));
    let mut folders = std::iter::once(root.join(&name)).chain(numbered);
    folders.find(|path| !path.join(CONFIG).exists()).expect("there is no end of numbers")
}

/// Names the settings in which the run is measured otherwise, and the command that measures it as is asked.
fn measured_otherwise(run: &RunDir, changes: &[FieldChange]) -> RunError {
    let set = |change: &FieldChange| {
        let set = format!("{}={}", change.field, change.sides()[1]);
        let plain = set.chars().all(|letter| letter.is_alphanumeric() || "._=-+".contains(letter));
        if plain { format!(" --set {set}") } else { format!(" --set '{set}'") }
    };
    let difference = |change: &FieldChange| {
        let [sealed, found] = change.sides();
        format!("{} is {sealed} there, and {found} is asked for", change.field)
    };
    RunError::MeasuredOtherwise {
        path: run.path().to_owned(),
        changes: changes.iter().map(difference).collect::<Vec<_>>().join("; "),
        sets: changes.iter().map(set).collect(),
    }
}

/// How `asked` differs from `there` in how a run is measured.
pub(crate) fn measuring_changes(there: &Config, asked: &Config) -> Vec<FieldChange> {
    let [there, asked] = [there, asked].map(|config| {
        let measuring = |(section, _): &(String, _)| section == "eval" || section == "probe";
        config.to_table().into_iter().filter(measuring).collect::<Table>()
    });
    FieldChange::between(&there, &asked)
}

#[cfg(test)]
mod tests {
    use data::TaskRegistry;

    use super::*;
    use crate::Source;
    use crate::version::OF_VERSION_1;

    fn smoke(sets: &[&str]) -> Experiment {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Config::resolve(&Source::named("smoke"), &sets).unwrap().build(&TaskRegistry::builtin()).unwrap()
    }

    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    #[test]
    fn a_run_is_found_by_its_configuration_wherever_it_lies() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path(), &smoke(&[])).unwrap();
        let moved = root.path().join("elsewhere");
        fs::rename(run.path(), &moved).unwrap();
        for sets in [&[][..], &["checkpoints.full=9"], &["name=other"]] {
            assert_eq!(RunDir::create(root.path(), &smoke(sets)).unwrap().path(), moved, "{sets:?}");
        }
        let found = |root: &Path, sets| Runs::under(root).unwrap().of(&smoke(sets)).unwrap();
        assert_eq!(found(root.path(), &[]).unwrap().path(), moved);
        assert!(found(root.path(), &["seed=1"]).is_none());
        assert!(found(&root.path().join("nowhere"), &[]).is_none());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_without_a_later_setting_is_found() {
        let root = tempfile::tempdir().unwrap();
        let old = root.path().join("smoke-987aa00a");
        fs::create_dir(&old).unwrap();
        fs::write(old.join(CONFIG), OF_VERSION_1).unwrap();
        assert_eq!(RunDir::create(root.path(), &smoke(&[])).unwrap().path(), old);
    }

    #[test]
    fn another_way_of_measuring_is_refused_and_every_byte_stays() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path(), &smoke(&[])).unwrap();
        let before = files(run.path());
        let sets = ["probe.neighbours=7", "probe.probes=[\"knn\", \"linear\"]"];
        let refusal = RunDir::create(root.path(), &smoke(&sets)).unwrap_err().to_string();
        for words in [
            "probe.neighbours is 10 there, and 7 is asked for",
            &format!(
                "remeasure {} --set probe.neighbours=7 --set 'probe.probes=[\"knn\", \"linear\"]'",
                run.path().display()
            ),
        ] {
            assert!(refusal.contains(words), "{refusal}");
        }
        assert_eq!(files(run.path()), before);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        // Earlier programs made a run of its own for it, which is then the one.
        let other = smoke(&sets);
        let theirs = RunDir::at(root.path().join("theirs"));
        theirs.write_sealed(&other.config, &[]).unwrap();
        assert_eq!(RunDir::create(root.path(), &other).unwrap().path(), theirs.path());
        assert_eq!(RunDir::create(root.path(), &smoke(&[])).unwrap().path(), run.path());
    }

    #[test]
    fn of_many_that_make_a_run_at_the_same_time_one_makes_it() {
        let root = tempfile::tempdir().unwrap();
        let create = || RunDir::create(root.path(), &smoke(&[])).unwrap().path().to_owned();
        let paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let creating: Vec<_> = (0..10).map(|_| scope.spawn(create)).collect();
            creating.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(paths.iter().all(|path| *path == paths[0]), "{paths:?}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_another_run_has_gets_a_number() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path(), &smoke(&["seed=1"])).unwrap();
        let taken = root.path().join(smoke(&[]).config.run_name());
        fs::rename(run.path(), &taken).unwrap();
        let path = RunDir::create(root.path(), &smoke(&[])).unwrap().path().to_owned();
        assert_eq!(path, PathBuf::from(format!("{}-2", taken.display())));
        assert_eq!(RunDir::create(root.path(), &smoke(&[])).unwrap().path(), path);
        assert_eq!(RunDir::create(root.path(), &smoke(&["seed=1"])).unwrap().path(), taken);
    }
}
