//! `lm compare`.

use std::path::PathBuf;

use analysis::{CliError, Shown, TunedRun, check_tuning, write_tuning};
use clap::Args;
use data::Legend;
use record::Folder;
use terminal::say;

use crate::LmRun;

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
        let legends = runs.iter().map(|run| Ok(run.legend()?)).collect::<Result<Vec<_>, CliError>>()?;
        let tuned: Vec<TunedRun<'_>> = runs.iter().zip(&legends).map(|(run, legend)| tuned(run, legend)).collect();
        check_tuning(&Folder::at(&self.out), self.force)?;
        let out = Folder::create(&self.out)?;
        write_tuning(&tuned, &out)?;
        Ok(say(&out.path().display().to_string())?)
    }
}

fn tuned<'a>(run: &'a LmRun, legend: &'a Legend) -> TunedRun<'a> {
    let config = &run.experiment.config;
    TunedRun {
        name: config.name.clone(),
        trainable: config.tuned.as_ref().map_or(String::new(), |tuned| tuned.free.to_string()),
        shown: Shown { folder: run.folder(), legend },
    }
}
