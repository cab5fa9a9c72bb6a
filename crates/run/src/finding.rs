//! How a run is found: by what its configuration says, whatever its folder is called.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data::Legend;
use record::{Change, Folder, RecordError};
use toml::Table;

use crate::run_dir::{CHECKPOINTS, CONFIG, START};
use crate::{Checkpoint, Config, Experiment, RunDir, RunError};

impl RunDir {
    /// The run of `experiment` under `root`, made if it is not there: in `root/<name>-<identity>`, or in a folder with a
    /// number behind that where another run has the name.
    ///
    /// # Errors
    /// When the disk fails, the run is there but measured otherwise, or the experiment continues from weights and no run
    /// under `root` does.
    pub fn create(root: &Path, experiment: &Experiment) -> Result<Self, RunError> {
        match Self::existing(root, experiment)? {
            Some(run) => Ok(run),
            None => Self::make(root, experiment, &[]),
        }
    }

    /// The run that [`create`](Self::create) would return, if it is there. Nothing is written.
    ///
    /// # Errors
    /// As `create`.
    pub fn existing(root: &Path, experiment: &Experiment) -> Result<Option<Self>, RunError> {
        let found = Self::found(root, &experiment.config)?;
        if found.is_none() && experiment.config.finetune.is_some() {
            return Err(RunError::NoStart { path: Self::free_folder(root, &experiment.config).join(START) });
        }
        Ok(found)
    }

    /// As [`create`](Self::create), with the weights of `start` to continue from.
    pub fn create_from(root: &Path, experiment: &Experiment, start: &Checkpoint) -> Result<Self, RunError> {
        match Self::found(root, &experiment.config)? {
            Some(run) => Ok(run),
            None => Self::make(root, experiment, &[(START, &model::encode(&start.architecture, &start.weights))]),
        }
    }

    /// The run of `config`, if it is there and measured as `config` says.
    fn found(root: &Path, config: &Config) -> Result<Option<Self>, RunError> {
        let mut runs = Self::all_with(root, &config.identity())?;
        // Earlier programs made a run of its own for every way of measuring, and for every name.
        runs.sort_by_key(|(_, there)| (!measuring_changes(there, config).is_empty(), there.name != config.name));
        let Some((run, there)) = runs.into_iter().next() else { return Ok(None) };
        let changes = measuring_changes(&there, config);
        if changes.is_empty() {
            // Only what is sealed was compared, and nothing may come of it if that was changed.
            run.check_seal(&run.config_table()?)?;
            return Ok(Some(run));
        }
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        let set = |change: &Change| {
            let set = format!("{}={}", change.field, value(&change.found));
            let plain = set.chars().all(|letter| letter.is_alphanumeric() || "._=-+".contains(letter));
            if plain { format!(" --set {set}") } else { format!(" --set '{set}'") }
        };
        let difference = |change: &Change| {
            format!("{} is {} there, and {} is asked for", change.field, value(&change.sealed), value(&change.found))
        };
        Err(RunError::MeasuredOtherwise {
            path: run.path().to_owned(),
            changes: changes.iter().map(difference).collect::<Vec<_>>().join("; "),
            sets: changes.iter().map(set).collect(),
        })
    }

    /// The runs in folders of `out` whose configuration has that identity, by name. Folders that are no run, and runs that
    /// cannot be read, are passed over.
    fn all_with(out: &Path, identity: &str) -> Result<Vec<(Self, Config)>, RunError> {
        let entries = match fs::read_dir(out) {
            // It is named when the folder cannot be made.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            entries => entries.map_err(|error| RecordError::io("read", out, error))?,
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let with_config = |run: Self| run.sealed_config().ok().map(|config| (run, config));
        let runs = paths.iter().filter_map(|path| Self::open(path).ok()).filter_map(with_config);
        Ok(runs.filter(|(_, config)| config.identity() == identity).collect())
    }

    /// Makes the run, unless another process has made it meanwhile.
    fn make(root: &Path, experiment: &Experiment, more: &[(&str, &[u8])]) -> Result<Self, RunError> {
        let _turn = Folder::create(root)?.lock_in_turn()?;
        if let Some(run) = Self::found(root, &experiment.config)? {
            return Ok(run);
        }
        let run = Self::at(Self::free_folder(root, &experiment.config));
        run.folder().create_inside(CHECKPOINTS)?;
        run.folder().write_toml(Legend::FILE, &Legend::of(experiment.study.task.pairs().as_ref()))?;
        run.write_sealed(&experiment.config, more)?;
        Ok(run)
    }

    /// Where a run of `config` can be made: what is begun and has no configuration yet is no run.
    fn free_folder(root: &Path, config: &Config) -> PathBuf {
        let name = config.run_name();
        let numbered = (2..).map(|number| root.join(format!("{name}-{number}")));
        let mut folders = std::iter::once(root.join(&name)).chain(numbered);
        folders.find(|path| !path.join(CONFIG).exists()).unwrap_or_else(|| root.join(&name))
    }
}

/// How `asked` differs from `there` in how a run is measured.
pub(crate) fn measuring_changes(there: &Config, asked: &Config) -> Vec<Change> {
    let [there, asked] = [there, asked].map(|config| {
        let measuring = |(section, _): &(String, _)| section == "eval" || section == "probe";
        config.to_table().into_iter().filter(measuring).collect::<Table>()
    });
    Change::between(&there, &asked)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        assert_eq!(RunDir::existing(root.path(), &smoke(&[])).unwrap().unwrap().path(), moved);
        assert!(RunDir::existing(root.path(), &smoke(&["seed=1"])).unwrap().is_none());
        assert!(RunDir::existing(&root.path().join("nowhere"), &smoke(&[])).unwrap().is_none());
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
