//! `lm explore`.

use std::path::{Path, PathBuf};

use analysis::{CliError, EXPLORE, Explored, Machine, check_page};
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
    /// States shown of every run [default: as many as keep the page under 5 MB, at most 400]
    #[arg(long, value_name = "N")]
    states: Option<usize>,
    /// File to write [default: explore.html in the run's folder; of several runs, beside the first]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write over what is there, even if it is no earlier page; files of a run are never written over
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    machine: Machine,
}

impl Explore {
    pub(super) fn run(self) -> Result<(), CliError> {
        let device = self.machine.prepare()?;
        let runs = self.runs.iter().map(|path| LmRun::open(path)).collect::<Result<Vec<_>, _>>()?;
        let out = self.out.unwrap_or_else(|| usual_place(&runs));
        check_page(&out, self.force)?;
        let work = Work::new();
        let watch = |done, total| work.watch(done, total);
        let mut explored = Explored::new(runs.len(), self.states);
        for run in &runs {
            work.name(&run.name());
            let series = run.series().map_err(Failure::from)?;
            run.explore(&mut explored, &series.asked(&run.experiment, device, &watch))?;
        }
        explored.write(&runs[0].experiment.config.name, &out, self.force)?;
        Ok(say(&out.display().to_string())?)
    }
}

fn usual_place(runs: &[LmRun]) -> PathBuf {
    let first = runs[0].folder().path();
    let whole = first.canonicalize().unwrap_or_else(|_| first.to_owned());
    let beside = whole.parent().unwrap_or(Path::new("."));
    if runs.len() == 1 { first.join(EXPLORE) } else { beside.join(EXPLORE) }
}
