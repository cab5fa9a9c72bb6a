//! `lm explore`.

use std::path::PathBuf;

use analysis::{CliError, Explored, PageArgs};
use clap::Args;
use terminal::{Failure, say};

use super::work::Work;
use crate::LmRun;

/// The runs, and where to write.
#[derive(Debug, Args)]
pub struct Explore {
    /// Folders of runs of language models
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    page: PageArgs,
}

impl Explore {
    pub(super) fn run(self) -> Result<(), CliError> {
        let device = self.page.machine.prepare()?;
        let runs = self.runs.iter().map(|path| LmRun::open(path)).collect::<Result<Vec<_>, _>>()?;
        let out = self.page.place(&runs.iter().map(|run| run.folder().path()).collect::<Vec<_>>())?;
        let work = Work::new();
        let watch = |done, total| work.watch(done, total);
        let mut explored = Explored::new(runs.len(), self.page.states);
        for run in &runs {
            work.name(&run.name());
            let series = run.series().map_err(Failure::from)?;
            let experiment = run.experiment()?;
            run.explore(&mut explored, &experiment.study, &series.asked(&experiment, device, &watch))?;
        }
        explored.write(&runs[0].config.name, &out, self.page.force)?;
        Ok(say(&out.display().to_string())?)
    }
}
