//! The run directory: what lies in it, and who may write.

use std::fs;
use std::path::{Path, PathBuf};

use model::{Device, Weights};
use record::{Folder, REPORT, RecordError, Row, Table, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Experiment, RunError, Source};

pub(crate) const CONFIG: &str = "config.toml";
const ENVIRONMENT: &str = "environment.toml";
pub(crate) const START: &str = "start.safetensors";
const PLOTS: &str = "plots";
const EXPORT: &str = "export";
const FAILURE: &str = "failure.txt";

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

    /// Where its report lies, once it is written.
    pub fn report(&self) -> PathBuf {
        self.path().join(REPORT)
    }

    /// The folder of exports, if something was exported there.
    pub fn exports(&self) -> Option<PathBuf> {
        let holds_some = |folder: &PathBuf| fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_some());
        Some(self.path().join(EXPORT)).filter(holds_some)
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
}
