//! The run directory: what lies in it, and who may write.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use model::{Device, Weights};
use record::{AnyTable, Folder, RecordError, Row, Table};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checks::hex;
use crate::{Checkpoint, Config, Experiment, RunError, Source, checkpoint};

pub(crate) const CONFIG: &str = "config.toml";
const ENVIRONMENT: &str = "environment.toml";
pub(crate) const START: &str = "start.safetensors";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
const PLOTS: &str = "plots";
const EXPORT: &str = "export";
const REPORT: &str = "report.html";
const FAILURE: &str = "failure.txt";

/// What stands behind the step of a checkpoint that is not measured yet.
const UNMEASURED: &str = "unmeasured";

/// Where a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub version: String,
    /// Commit it was built from, when known.
    pub commit: String,
    /// The device that did the arithmetic.
    pub device: String,
    /// What the factors of its products were: `f32`, `TF32` or `f64`; not known of runs before it was written down.
    pub products: Option<String>,
    /// Threads at hand.
    pub threads: usize,
    /// Processor architecture and operating system.
    pub platform: String,
}

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

/// A run on disk.
///
/// # Errors
/// Every function fails where the disk does. What else can go wrong stands beside it.
#[derive(Clone, Debug)]
pub struct RunDir {
    folder: Folder,
}

impl Environment {
    /// This program, here, on `device` with `threads` threads.
    pub fn here(device: Device, threads: usize) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: record::COMMIT.to_owned(),
            device: device.to_string(),
            products: Some(device.products().to_owned()),
            threads,
            platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }
}

impl RunDir {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { folder: Folder::at(path).with_figures_in(PLOTS) }
    }

    /// The run at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        match path.join(CONFIG).is_file() {
            true => Ok(Self::at(path.to_owned())),
            false => {
                Err(RunError::NotARun { path: path.to_owned(), missing: CONFIG, around: record::run_around(path) })
            }
        }
    }

    /// Its folder, with tables, figures and files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where its folder is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where its configuration is.
    pub fn config_file(&self) -> PathBuf {
        self.path().join(CONFIG)
    }

    /// The folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path().join(CHECKPOINTS)
    }

    /// Its configuration, as a source for others.
    pub fn source(&self) -> Source {
        Source::File(self.config_file())
    }

    /// The weights that the run continues from; none where they are drawn.
    ///
    /// # Errors
    /// When they are not those that the configuration names.
    pub fn start(&self, experiment: &Experiment) -> Result<Option<Weights>, RunError> {
        let Some(finetune) = &experiment.config.finetune else { return Ok(None) };
        let path = self.path().join(START);
        let bytes = fs::read(&path).map_err(|error| RecordError::io("read", &path, error))?;
        let found = hex(&Sha256::digest(&bytes));
        if found != finetune.weights {
            let reason = format!("its SHA-256 must be {}, but is {found}", finetune.weights);
            return Err(RecordError::malformed(&path, reason).into());
        }
        let decoded = model::decode(&bytes).map_err(|error| error.to_string()).and_then(|(architecture, weights)| {
            experiment.check_weights(&architecture).map_err(|error| error.to_string())?;
            Ok(weights)
        });
        Ok(decoded.map(Some).map_err(|reason| RecordError::malformed(&path, reason))?)
    }

    /// Notes where the run was made.
    pub fn write_environment(&self, environment: &Environment) -> Result<(), RunError> {
        let text = toml::to_string(environment).expect("strings and integers are TOML");
        Ok(self.folder.write(ENVIRONMENT, text.as_bytes())?)
    }

    /// Where the run was made, when it was noted.
    pub fn environment(&self) -> Option<Environment> {
        toml::from_str(&fs::read_to_string(self.path().join(ENVIRONMENT)).ok()?).ok()
    }

    /// Notes why training ended, for whoever lists runs; or, with none, that it goes on.
    pub fn note_failure(&self, reason: Option<&str>) -> Result<(), RunError> {
        match reason {
            Some(reason) => Ok(self.folder.write(FAILURE, format!("{reason}\n").as_bytes())?),
            None => Ok(record::remove_file(&self.path().join(FAILURE))?),
        }
    }

    /// Why training ended when it was tried last, if it failed.
    pub fn failure(&self) -> Option<String> {
        Some(fs::read_to_string(self.path().join(FAILURE)).ok()?.trim_end().to_owned())
    }

    /// The table of rows `R`.
    pub fn table<R: Row>(&self) -> Table<R> {
        self.folder.table()
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
        Ok(files_in(&self.path().join(CHECKPOINTS))?.into_iter().filter_map(step).collect())
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
            (None, _) => set_aside(self.path().join(CHECKPOINTS)),
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
        let inside = files_in(&self.path().join(CHECKPOINTS))?.into_iter();
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

    /// Where its report lies, once it is written.
    pub fn report(&self) -> PathBuf {
        self.path().join(REPORT)
    }

    /// Where an export of the checkpoint at `step` goes unless told otherwise: `export/<step>.<format>`.
    pub fn export_path(&self, step: usize, format: &str) -> PathBuf {
        self.path().join(EXPORT).join(format!("{step:08}.{format}"))
    }

    /// Where the prompts of interventions are exported to unless told otherwise: `export/prompts.npz`.
    pub fn prompts_path(&self) -> PathBuf {
        self.path().join(EXPORT).join("prompts.npz")
    }

    /// The folder that the tables are exported to for TensorBoard unless told otherwise: `export/tensorboard`.
    pub fn tensorboard_path(&self) -> PathBuf {
        self.path().join(EXPORT).join("tensorboard")
    }

    fn checkpoint_folder(&self, step: usize) -> PathBuf {
        self.path().join(CHECKPOINTS).join(format!("{step:08}"))
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
