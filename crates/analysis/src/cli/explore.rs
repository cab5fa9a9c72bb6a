//! `analysis explore`.

use std::path::{Path, PathBuf};

use clap::Args;
use data::TaskRegistry;
use model::Device;
use plots::explore::Exploration;
use run::{Checkpoints, Experiment, RunDir, Work};
use terminal::patient_note;

use crate::cli::compare::runs_at;
use crate::cli::{CliError, Machine, legend_of};
use crate::{EXPLORE, Explored, Session, Shown, check_page};

/// The runs, and where to write.
#[derive(Debug, Args)]
pub struct Explore {
    /// Folders of runs, or folders that hold runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    page: PageArgs,
}

/// What a page shows, and where it is written.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// States shown of every run [default: as many as keep the page under 5 MB, at most 400]
    #[arg(long, value_name = "N")]
    pub states: Option<usize>,
    /// File to write [default: explore.html in the run's folder; of several runs, beside the first]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write over what is there, even if it is no earlier page; files of a run are never written over
    #[arg(long)]
    pub force: bool,
    /// What reads the states
    #[command(flatten)]
    pub machine: Machine,
}

impl PageArgs {
    /// Where the page of runs in those folders goes.
    ///
    /// # Errors
    /// When something is there that is no such page and is not to be written over, or that is a part of a run.
    pub fn place(&self, folders: &[&Path]) -> Result<PathBuf, CliError> {
        let beside = |first: &Path| {
            // The parent of `.` is in no name but the full one.
            let whole = first.canonicalize().unwrap_or_else(|_| first.to_owned());
            whole.parent().unwrap_or(&whole).join(EXPLORE)
        };
        let usual = || if let [only] = folders { only.join(EXPLORE) } else { beside(folders[0]) };
        let out = self.out.clone().unwrap_or_else(usual);
        check_page(&out, self.force)?;
        Ok(out)
    }
}

impl Explore {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let mut runs = Vec::new();
        for path in &self.runs {
            runs.extend(runs_at(path)?);
        }
        let experiments = experiments(&runs, registry, self.page.machine.threads())?;
        let out = self.page.place(&runs.iter().map(RunDir::path).collect::<Vec<_>>())?;
        let device = self.page.machine.prepare()?;
        let explored = read(&runs, &experiments, self.page.states, device, registry)?;
        explored.write(&title(&runs, &experiments), &out, self.page.force)?;
        Ok(out)
    }
}

/// What the page of some runs shows, with `states` states of each; without that as many as keep the page small.
///
/// # Errors
/// When a configuration, a model or a table cannot be read, or there is no memory for the models.
pub fn explored(
    runs: &[RunDir],
    states: Option<usize>,
    (device, threads): (Device, usize),
    registry: &TaskRegistry,
) -> Result<Exploration, CliError> {
    let experiments = experiments(runs, registry, threads)?;
    Ok(read(runs, &experiments, states, device, registry)?.titled(&title(runs, &experiments)))
}

fn experiments(runs: &[RunDir], registry: &TaskRegistry, threads: usize) -> Result<Vec<Experiment>, CliError> {
    let checked = |run: &RunDir| {
        let experiment = run.experiment(registry)?;
        experiment.check_memory(Work::Measuring, Device::Flex, threads, 1)?;
        Ok(experiment)
    };
    runs.iter().map(checked).collect()
}

fn read(
    runs: &[RunDir],
    experiments: &[Experiment],
    states: Option<usize>,
    device: Device,
    registry: &TaskRegistry,
) -> Result<Explored, CliError> {
    let mut explored = Explored::new(runs.len(), states);
    for (run, experiment) in runs.iter().zip(experiments) {
        add(&mut explored, run, experiment, device, registry)?;
    }
    Ok(explored)
}

fn add(
    explored: &mut Explored,
    run: &RunDir,
    experiment: &Experiment,
    device: Device,
    registry: &TaskRegistry,
) -> Result<(), CliError> {
    let (note, name) = (patient_note(), name_of(run));
    let session = Session {
        study: &experiment.study,
        subjects: &Checkpoints::new(run, experiment, device),
        folder: run.folder(),
        progress: &|text| note(&format!("{name}: {text}")),
    };
    let legend = legend_of(run, registry)?;
    let titled = format!("{name}, seed {}", experiment.config.seed);
    Ok(explored.add(&titled, &session, &Shown { folder: run.folder(), legend: &legend })?)
}

fn title(runs: &[RunDir], experiments: &[Experiment]) -> String {
    let name = &experiments[0].config.name;
    match experiments.iter().all(|experiment| experiment.config.name == *name) {
        true if runs.len() > 1 => format!("{name}, {} runs", runs.len()),
        true => name.clone(),
        false => format!("{} runs", runs.len()),
    }
}

fn name_of(run: &RunDir) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let whole = || run.path().canonicalize().ok().and_then(|path| name(&path));
    name(run.path()).or_else(whole).unwrap_or_else(|| run.path().display().to_string())
}
