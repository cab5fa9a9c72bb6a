//! `emergence runs`: what lies in a folder of runs.

use std::path::{Path, PathBuf};

use analysis::CliError;
use clap::{Args, Subcommand};
use record::FieldChange;
use run::{RunDir, RunError, runs_in};
use serde::Serialize;
use terminal::{Failure, note, say, say_json};

use super::{Contents, Status};

/// What lies in folders of runs, and what of it can go.
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List runs with their states
    List {
        /// Folders of runs, or of sweeps
        #[command(flatten)]
        among: Among,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the settings in which two runs differ
    Diff {
        /// One run
        a: PathBuf,
        /// The other run
        b: PathBuf,
    },
    /// Show what no command needs any more: damaged and half-measured checkpoints, and those of interruptions
    Clean {
        /// Folders of runs, or of sweeps
        #[command(flatten)]
        among: Among,
        /// Remove it
        #[arg(long)]
        yes: bool,
    },
}

/// Which runs.
#[derive(Debug, Args)]
pub struct Among {
    /// Runs, folders of runs, or folders of sweeps
    #[arg(default_value = "runs")]
    folders: Vec<PathBuf>,
}

/// A line of the list.
#[derive(Serialize)]
struct Listed {
    run: PathBuf,
    #[serde(flatten)]
    status: Option<Status>,
    /// Why its configuration is none of a training.
    other: Option<String>,
}

impl Runs {
    pub(super) fn run(self) -> Result<(), CliError> {
        match self {
            Self::List { among, json } => {
                let list: Vec<Listed> = among.runs()?.iter().map(Listed::of).collect();
                let said = if json { say_json(&list) } else { list.iter().try_for_each(|listed| say(&listed.line())) };
                Ok(said?)
            }
            Self::Diff { a, b } => {
                let [a, b] = [RunDir::open(&a)?.config()?, RunDir::open(&b)?.config()?];
                Ok(a.changes_to(&b).iter().try_for_each(|change| say(&difference(change)))?)
            }
            Self::Clean { among, yes } => clean(&among.runs()?, yes),
        }
    }
}

impl Among {
    /// The runs at the paths, in them, and in the folders in them.
    fn runs(&self) -> Result<Vec<RunDir>, CliError> {
        let mut runs = Vec::new();
        for folder in &self.folders {
            let before = runs.len();
            match RunDir::open(folder) {
                Ok(run) => runs.push(run),
                Err(_) => runs.extend(runs_below(folder)?),
            }
            if runs.len() == before {
                let reason = format!("FOLDERS must be runs or hold runs, but there is none in {}", folder.display());
                return Err(Failure::Request(anyhow::anyhow!(reason)).into());
            }
        }
        Ok(runs)
    }
}

/// The runs in a folder, and in the folders in it, which are sweeps. Folders in it that cannot be read are passed over.
///
/// # Errors
/// When the disk fails; a folder that is not there has no runs.
pub fn runs_below(folder: &Path) -> Result<Vec<RunDir>, RunError> {
    let mut runs = runs_in(folder)?;
    let mut inside: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    inside.sort();
    for sweep in inside.iter().filter(|path| path.is_dir() && RunDir::open(path).is_err()) {
        runs.extend(runs_in(sweep).unwrap_or_default());
    }
    Ok(runs)
}

impl Listed {
    fn of(run: &RunDir) -> Self {
        let path = run.path().to_owned();
        let other = |text: String| Self { run: path.clone(), status: None, other: Some(text) };
        match Contents::of(run) {
            Contents::Training(config) => Self { run: path, status: Some(Status::of(Some(run), &config)), other: None },
            Contents::LanguageModel => other("measurements of a language model".to_owned()),
            Contents::Damaged(error) => other(error.to_string()),
        }
    }

    fn line(&self) -> String {
        let state = self.status.as_ref().map(ToString::to_string).or_else(|| self.other.clone());
        format!("{}  {}", self.run.display(), state.unwrap_or_default())
    }
}

/// A line for a setting that one of two runs has otherwise than the other, or not at all.
fn difference(change: &FieldChange) -> String {
    let [one, other] = change.sides();
    format!("{}  {one}  {other}", change.field)
}

/// Cleans every run that it can, and fails at the end if there was one that it could not.
fn clean(runs: &[RunDir], remove: bool) -> Result<(), CliError> {
    let (mut bytes, mut failed) = (0, None);
    for run in runs {
        match clean_run(run, remove) {
            Ok(more) => bytes += more,
            Err(error) => {
                if let Some(before) = failed.replace(error) {
                    note(&Failure::from(before).to_string());
                }
            }
        }
    }
    let megabytes = bytes as f64 / 1e6;
    note(&match (bytes, remove) {
        (0, _) => "there is nothing to remove".to_owned(),
        (_, false) => format!("--yes removes {megabytes:.1} MB"),
        (_, true) => format!("removed {megabytes:.1} MB"),
    });
    failed.map_or(Ok(()), Err)
}

/// Says what of a run is not needed, or removes it; gives its bytes.
fn clean_run(run: &RunDir, remove: bool) -> Result<u64, CliError> {
    let config = match Contents::of(run) {
        Contents::Training(config) => config,
        Contents::LanguageModel => return Ok(0),
        Contents::Damaged(error) => return Err(error.into()),
    };
    // While a process has the run, any of these may be in use.
    let _lock = match remove {
        true => Some(run.lock()?),
        false => None,
    };
    let mut bytes = 0;
    for unneeded in run.unneeded(&config)? {
        bytes += unneeded.bytes;
        say(&format!("{}  {:.1} MB", unneeded.folder.display(), unneeded.bytes as f64 / 1e6))?;
        if remove {
            run.remove(&unneeded)?;
        }
    }
    Ok(bytes)
}
