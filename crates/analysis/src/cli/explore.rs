//! `analysis explore`.

use std::path::{Path, PathBuf};

use clap::Args;
use data::{Legend, TaskRegistry};
use model::Device;
use plots::explore::Exploration;
use run::{Checkpoints, Experiment, RunDir, Work};
use terminal::patient_note;

use crate::cli::compare::{compared, runs_at};
use crate::cli::{CliError, Machine};
use crate::comparison::{compare_labels, group_labels};
use crate::{Compared, EXPLORE, Explored, Session, Shown, check_page};

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
    #[arg(long, value_name = "N", value_parser = terminal::whole::<usize>(0, None))]
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
        let runs = runs_at(&self.runs)?;
        let members = members(&runs, registry, self.page.machine.threads())?;
        let out = self.page.place(&runs.iter().map(RunDir::path).collect::<Vec<_>>())?;
        let device = self.page.machine.prepare()?;
        let explored = read(&members, self.page.states, device)?;
        explored.write(&title(&members), &out, self.page.force)?;
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
    let members = members(runs, registry, threads)?;
    Ok(read(&members, states, device)?.titled(&title(&members)))
}

/// A run of a page.
struct Member<'a> {
    run: &'a RunDir,
    experiment: Experiment,
    legend: Legend,
    /// What it differs in from the others, its seed and its folder.
    name: String,
}

/// The runs of a page, in the order of their names.
fn members<'a>(runs: &'a [RunDir], registry: &TaskRegistry, threads: usize) -> Result<Vec<Member<'a>>, CliError> {
    let experiment = |run: &RunDir| {
        let experiment = run.experiment(registry)?;
        experiment.check_memory(Work::Measuring, Device::Flex, threads, 1)?;
        Ok(experiment)
    };
    let experiments = runs.iter().map(experiment).collect::<Result<Vec<_>, CliError>>()?;
    let compared = runs.iter().zip(&experiments).map(|(run, experiment)| compared(run, &experiment.config, registry));
    let compared = compared.collect::<Result<Vec<_>, _>>()?;
    let labels = group_labels(&compared);
    let only_seeds_differ = labels.iter().all(|label| *label == labels[0]);
    let member = |((run, experiment), (compared, label)): ((&'a RunDir, Experiment), (Compared, String))| {
        let label = if only_seeds_differ { String::new() } else { format!("{label}, ") };
        let name = format!("{label}seed {} ({})", compared.seed, folder_name(run));
        Member { run, experiment, legend: compared.legend, name }
    };
    let mut members: Vec<_> = runs.iter().zip(experiments).zip(compared.into_iter().zip(labels)).map(member).collect();
    members.sort_by(|a, b| compare_labels(&a.name, &b.name));
    Ok(members)
}

fn read(members: &[Member<'_>], states: Option<usize>, device: Device) -> Result<Explored, CliError> {
    let note = patient_note();
    let mut explored = Explored::new(members.len(), states);
    for Member { run, experiment, legend, name } in members {
        let subjects = Checkpoints::new(run, experiment, device);
        let progress = |text: &str| note(&format!("{name}: {text}"));
        let session = Session::new(&experiment.study, &subjects, run.folder(), &progress);
        explored.add(name, &session, &Shown { folder: run.folder(), legend })?;
    }
    Ok(explored)
}

fn title(members: &[Member<'_>]) -> String {
    let name = &members[0].experiment.config.name;
    match members.iter().all(|member| member.experiment.config.name == *name) {
        true if members.len() > 1 => format!("{name}, {} runs", members.len()),
        true => name.clone(),
        false => format!("{} runs", members.len()),
    }
}

fn folder_name(run: &RunDir) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let whole = || run.path().canonicalize().ok().and_then(|path| name(&path));
    name(run.path()).or_else(whole).unwrap_or_else(|| run.path().display().to_string())
}
