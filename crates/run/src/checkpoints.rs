//! The checkpoints of a run: what was saved, what of it is whole, and what no command needs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use record::{AnyTable, RecordError};

use crate::{Checkpoint, Config, Experiment, RunDir, RunError, checkpoint};

pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// What stands behind the step of a checkpoint that is not measured yet.
const UNMEASURED: &str = "unmeasured";

/// A checkpoint's folder, and what is wrong with it.
pub type Damaged = (PathBuf, RunError);

/// A checkpoint's folder that no command needs.
#[derive(Debug)]
pub struct Unneeded {
    /// Where it is.
    pub folder: PathBuf,
    /// What its files take.
    pub bytes: u64,
}

impl RunDir {
    /// The folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path().join(CHECKPOINTS)
    }

    /// Steps of the checkpoints that `experiment` schedules, ascending: those that every run of it has, stopped or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn scheduled_steps(&self, experiment: &Experiment) -> Result<Vec<usize>, RunError> {
        let config = &experiment.config;
        let mut steps = self.steps()?;
        steps.retain(|&step| config.checkpoints.is_due(step, config.train.steps));
        if steps.is_empty() { Err(self.untrained()) } else { Ok(steps) }
    }

    /// Step of the last checkpoint.
    ///
    /// # Errors
    /// When there is none.
    pub fn last_step(&self) -> Result<usize, RunError> {
        self.steps()?.pop().ok_or_else(|| self.untrained())
    }

    fn untrained(&self) -> RunError {
        RunError::Untrained { path: self.path().to_owned() }
    }

    /// Steps of all checkpoints, ascending; one was added wherever the run was interrupted.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn steps(&self) -> Result<Vec<usize>, RunError> {
        self.steps_with(None)
    }

    /// Steps of the folders whose names have that extension, ascending.
    fn steps_with(&self, extension: Option<&str>) -> Result<Vec<usize>, RunError> {
        let step = |folder: PathBuf| {
            let is_asked = folder.extension().and_then(|found| found.to_str()) == extension;
            folder.file_stem()?.to_str().filter(|stem| is_asked && stem.len() == 8)?.parse().ok()
        };
        // Eight digits each, so their names are in the order of the steps.
        Ok(files_in(&self.checkpoints())?.into_iter().filter_map(step).collect())
    }

    /// The checkpoint at `step`, whose model is that of `experiment`.
    ///
    /// # Errors
    /// When there is none, a file of it is damaged, or its model is another: the configuration was changed since.
    pub fn checkpoint(&self, experiment: &Experiment, step: usize) -> Result<Checkpoint, RunError> {
        self.require(step)?;
        let path = self.checkpoint_folder(step);
        of_model(experiment, Checkpoint::load(&path, step)?, path)
    }

    /// Nothing, if there is a checkpoint at `step`.
    ///
    /// # Errors
    /// When there is none.
    pub fn require(&self, step: usize) -> Result<(), RunError> {
        let steps = self.steps()?;
        if steps.contains(&step) {
            return Ok(());
        }
        if steps.is_empty() {
            return Err(self.untrained());
        }
        let known = steps.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        Err(RunError::NoCheckpoint { path: self.path().to_owned(), step, known })
    }

    /// Makes sure that training can go on from the last checkpoint. Those that are damaged get `.damaged` behind their names;
    /// they come back with what is wrong with each, the newest first.
    ///
    /// # Errors
    /// When there are checkpoints, and none is whole with its optimizer state; nothing is changed then.
    pub fn set_damaged_aside(&self, experiment: &Experiment) -> Result<Vec<Damaged>, RunError> {
        match self.damaged(experiment)? {
            (None, damaged) if !damaged.is_empty() => Err(RunError::NothingWhole {
                path: self.path().to_owned(),
                newest: damaged.into_iter().map(|(_, why)| why.to_string()).next().unwrap_or_default(),
            }),
            (_, damaged) => damaged.into_iter().map(|(folder, why)| Ok((set_aside(folder)?, why))).collect(),
        }
    }

    /// Keeps all checkpoints under another name, which comes back, so that training begins anew.
    ///
    /// # Errors
    /// When training can go on from one of them, or there is none; nothing is changed then.
    pub fn set_all_aside(&self, experiment: &Experiment) -> Result<PathBuf, RunError> {
        match self.damaged(experiment)? {
            (Some(step), _) => Err(RunError::Whole { path: self.path().to_owned(), step }),
            (None, damaged) if damaged.is_empty() => Err(self.untrained()),
            (None, _) => set_aside(self.checkpoints()),
        }
    }

    /// The newest checkpoint that training can go on from, and the newer ones with what is wrong with each, the newest first.
    ///
    /// # Errors
    /// When the disk fails, or a checkpoint is whole and of another model or a newer program.
    fn damaged(&self, experiment: &Experiment) -> Result<(Option<usize>, Vec<Damaged>), RunError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let folder = self.checkpoint_folder(step);
            let why = match self.checkpoint(experiment, step) {
                Ok(Checkpoint { moments: Some(_), .. }) => return Ok((Some(step), damaged)),
                Ok(_) => RecordError::malformed(&folder, "it has no optimizer state").into(),
                Err(RunError::Record(error)) if error.is_damage() => error.into(),
                Err(error) => return Err(error),
            };
            damaged.push((folder, why));
        }
        Ok((None, damaged))
    }

    /// Saves a checkpoint at a step that has none, before it is measured: training can go on from it, but it counts only when
    /// it is [`completed`](Self::complete). The rows of `tables` until then are on the disk before it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save(&self, checkpoint: &Checkpoint, tables: &[Box<dyn AnyTable>]) -> Result<(), RunError> {
        tables.iter().try_for_each(|table| table.flush())?;
        let folder = self.checkpoint_folder(checkpoint.step).with_extension(UNMEASURED);
        if folder.exists() {
            // Training went on from it, or would have, were it whole.
            if Checkpoint::load(&folder, checkpoint.step).is_ok_and(|there| there == *checkpoint) {
                return Ok(());
            }
            record::remove_folder(&folder)?;
        }
        Ok(checkpoint.save(&folder)?)
    }

    /// The checkpoint that was saved last and not completed, if it is newer than those that were; a damaged one counts as
    /// none.
    ///
    /// # Errors
    /// When the disk fails, or it is of another model.
    pub fn unmeasured(&self, experiment: &Experiment) -> Result<Option<Checkpoint>, RunError> {
        let Some(step) = self.steps_with(Some(UNMEASURED))?.pop() else { return Ok(None) };
        if self.steps()?.last().is_some_and(|&last| last >= step) {
            return Ok(None);
        }
        let path = self.checkpoint_folder(step).with_extension(UNMEASURED);
        match Checkpoint::load(&path, step) {
            Err(error) if error.is_damage() => Ok(None),
            loaded => of_model(experiment, loaded?, path).map(Some),
        }
    }

    /// Completes the checkpoint saved at `step`, and lets all but the last `full` ones go down to their weights. What was
    /// measured in `tables` until then is on the disk before it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn complete(&self, step: usize, full: usize, tables: &[Box<dyn AnyTable>]) -> Result<(), RunError> {
        tables.iter().try_for_each(|table| table.flush())?;
        // First, so that nothing is left to do when the last checkpoint is there; but it takes one to go on from.
        self.drop_moments_but_of((full - 1).max(1))?;
        let folder = self.checkpoint_folder(step);
        record::rename(&folder.with_extension(UNMEASURED), &folder)?;
        self.drop_moments_but_of(full)
    }

    /// Checkpoints that no command needs: those that are damaged, those that were not measured before a newer one was, and
    /// those that an interruption left between the steps that `config` schedules.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn unneeded(&self, config: &Config) -> Result<Vec<Unneeded>, RunError> {
        let steps = self.steps()?;
        let last = steps.last().copied();
        let passed = self.steps_with(Some(UNMEASURED))?.into_iter().filter(|&step| Some(step) <= last);
        let between =
            steps.iter().filter(|&&step| Some(step) < last && !config.checkpoints.is_due(step, config.train.steps));
        let folders = between.map(|&step| self.checkpoint_folder(step));
        let folders = folders.chain(passed.map(|step| self.checkpoint_folder(step).with_extension(UNMEASURED)));
        // Single checkpoints, and all of them together where the run was begun anew.
        let inside = files_in(&self.checkpoints())?.into_iter();
        let damaged = inside.chain(files_in(self.path())?).filter(|path| {
            path.extension().is_some_and(|extension| extension.to_string_lossy().starts_with("damaged"))
        });
        let measured = |folder: PathBuf| Ok(Unneeded { bytes: bytes_in(&folder)?, folder });
        folders.chain(damaged).map(measured).collect()
    }

    /// Removes it, for whoever has the right to write.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, unneeded: &Unneeded) -> Result<(), RunError> {
        Ok(record::remove_folder(&unneeded.folder)?)
    }

    /// Lets all but the last `full` checkpoints go down to their weights.
    fn drop_moments_but_of(&self, full: usize) -> Result<(), RunError> {
        let steps = self.steps()?;
        let older = steps.len().saturating_sub(full);
        let drop_moments = |&step: &usize| checkpoint::drop_moments(&self.checkpoint_folder(step));
        Ok(steps[..older].iter().try_for_each(drop_moments)?)
    }

    fn checkpoint_folder(&self, step: usize) -> PathBuf {
        self.checkpoints().join(format!("{step:08}"))
    }
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let fail = |error| RecordError::io("read", folder, error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut paths = entries.map(|entry| Ok(entry.map_err(fail)?.path())).collect::<Result<Vec<_>, RunError>>()?;
    paths.sort();
    Ok(paths)
}

fn bytes_in(folder: &Path) -> Result<u64, RunError> {
    let len = |path: &PathBuf| match fs::metadata(path).map_err(|error| RecordError::io("read", path, error))? {
        found if found.is_dir() => bytes_in(path),
        found => Ok(found.len()),
    };
    files_in(folder)?.iter().map(len).sum()
}

/// The checkpoint loaded from `path`, if its model is that of `experiment`.
fn of_model(experiment: &Experiment, checkpoint: Checkpoint, path: PathBuf) -> Result<Checkpoint, RunError> {
    match experiment.check_weights(&checkpoint.architecture) {
        Ok(()) => Ok(checkpoint),
        Err(error) => Err(RunError::OtherModel { path, error }),
    }
}

/// Renames a folder to `NAME.damaged`, or with a number behind that; the new name comes back.
fn set_aside(folder: PathBuf) -> Result<PathBuf, RunError> {
    let numbered = (2..).map(|number| folder.with_extension(format!("damaged-{number}")));
    let mut names = std::iter::once(folder.with_extension("damaged")).chain(numbered);
    let free = names.find(|path| !path.exists()).expect("there is no end of numbers");
    record::rename(&folder, &free)?;
    Ok(free)
}
