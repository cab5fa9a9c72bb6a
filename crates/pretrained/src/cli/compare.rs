//! `lm compare`.

use std::path::PathBuf;

use analysis::{AccuracyRow, CliError, Shown, TunedRun, check_tuning, write_tuning};
use clap::Args;
use data::Legend;
use record::{FieldChange, Folder};
use terminal::{Failure, say};
use toml::Table;

use crate::{LmRun, PretrainedError};

/// The runs, and where to write.
#[derive(Debug, Args)]
pub struct Compare {
    /// The folder of the run as it was, then those of runs that were tuned from it
    #[arg(required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Folder to write to
    #[arg(long, default_value = "runs/compare")]
    out: PathBuf,
    /// Write over a table and figure that this command did not write
    #[arg(long)]
    force: bool,
}

impl Compare {
    pub(super) fn run(self) -> Result<(), CliError> {
        let runs = self.runs.iter().map(|path| LmRun::open(path)).collect::<Result<Vec<_>, _>>()?;
        let (first, tuned_from_it) = runs.split_first().expect("there are two at least");
        if let Some(tuned) = &first.config.tuned {
            let reason =
                format!("the first run must be of the model before it was tuned, but its layers {} were", tuned.free);
            return Err(Failure::from(PretrainedError::file(first.folder().path(), reason)).into());
        }
        tuned_from_it.iter().try_for_each(|run| check_tuned_from(first, run)).map_err(Failure::from)?;
        runs.iter().try_for_each(check_measured)?;
        let legends = runs.iter().map(|run| run.legend()).collect::<Result<Vec<_>, CliError>>()?;
        let tuned: Vec<TunedRun<'_>> =
            runs.iter().zip(&legends).map(|(run, legend)| tuned(run, legend, &runs)).collect();
        check_tuning(&Folder::at(&self.out), self.force)?;
        let out = Folder::create(&self.out)?;
        write_tuning(&tuned, &out)?;
        Ok(say(&out.path().display().to_string())?)
    }
}

/// Errors if `run` does not ask what `first` asks, of the same model after tuning.
fn check_tuned_from(first: &LmRun, run: &LmRun) -> Result<(), PretrainedError> {
    if run.config.tuned.is_none() {
        let reason = format!("it must be a run that was tuned from {}, but was not tuned", first.name());
        return Err(PretrainedError::file(run.folder().path(), reason));
    }
    let asked = |run: &LmRun| {
        let mut config: Table = run.config.to_toml().parse().expect("what was written as TOML is TOML");
        config.retain(|field, _| !["name", "tuned", "finetune"].contains(&field));
        config
    };
    match FieldChange::between(&asked(first), &asked(run)).first() {
        None => first.check_material_of(run),
        Some(change) => {
            let [before, after] = change.sides();
            let reason = format!("{} must be as in {} ({before}), but is {after}", change.field, first.name());
            Err(PretrainedError::file(run.folder().path(), reason))
        }
    }
}

/// Errors if there are no answers to compare.
fn check_measured(run: &LmRun) -> Result<(), CliError> {
    if run.folder().table::<AccuracyRow>().read()?.is_empty() {
        let goes_on = match &run.config.tuned {
            Some(tuned) => format!("go on with the same `lm finetune` of {}", tuned.run),
            None => run.measure_again(),
        };
        let reason = format!("it must be measured before it is compared: {goes_on}");
        return Err(Failure::from(PretrainedError::file(run.folder().path(), reason)).into());
    }
    Ok(())
}

/// A run with its name, or with that of its folder where another has the same.
fn tuned<'a>(run: &'a LmRun, legend: &'a Legend, all: &[LmRun]) -> TunedRun<'a> {
    let config = &run.config;
    let is_alone = all.iter().filter(|other| other.config.name == config.name).count() == 1;
    TunedRun {
        name: if is_alone { config.name.clone() } else { run.name() },
        trainable: config.tuned.as_ref().map_or(String::new(), |tuned| tuned.free.to_string()),
        shown: Shown { folder: run.folder(), legend },
    }
}
