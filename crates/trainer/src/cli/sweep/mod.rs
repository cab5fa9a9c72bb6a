//! `trainer sweep`.
//!
//! Several processes, on one machine or on many, may work on the same sweep. Each takes the runs that nobody has, and in
//! the end waits for those that others have, so that each sees all runs done and writes the whole comparison. Or each is
//! given one run by its place in the list, and a last one compares them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use analysis::{
    CliError, Compared, SweepRow, check_comparison, compared, differences, note_unfinished, say_summary, say_sweep,
    write_comparison,
};
use clap::Args;
use data::{Legend, TaskRegistry};
use model::Device;
use probe::ProbeKind;
use record::{Folder, Seal};
use run::{Experiment, RunDir, Runs, Source, Work};
use serde::Serialize;
use terminal::{Failure, say, say_json, stop_signal};

use super::{Job, Status};

mod slurm;
mod work;

use slurm::Slurm;
use work::End;

/// What to sweep over, and how.
#[derive(Debug, Args)]
pub struct Sweep {
    /// TOML file with a preset's fields and `seeds`, `[grid]` and `[[runs]]`, or a preset
    file: String,
    /// Replace a field before anything is varied: --set train.steps=100; may be given many times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Runs that are trained at the same time and share the threads; on a GPU, N of them need N + 1 threads
    #[arg(long, default_value_t = 1, conflicts_with = "for_slurm", value_parser = terminal::whole::<u16>(1, Some(1024)))]
    jobs: u16,
    /// Begin no further run after one has failed
    #[arg(long, conflicts_with = "for_slurm")]
    fail_fast: bool,
    /// Begin or go on with at most so many runs
    #[arg(long, value_name = "N", conflicts_with = "for_slurm", value_parser = terminal::whole::<u16>(1, Some(65_535)))]
    max_runs: Option<u16>,
    #[command(flatten)]
    job: Job,
    /// Folder that runs, tables and figures are made in [default: runs/NAME]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write over tables and figures in that folder that no comparison wrote, or the comparison of other runs
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    slurm: Slurm,
}

/// What is done instead of the whole sweep.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Part {
    /// Print the runs with their places and states, and train none
    #[arg(long)]
    list: bool,
    /// Complete the run at this place of --list alone, from 0; nothing is compared
    #[arg(long, value_name = "I", value_parser = terminal::whole::<usize>(0, None))]
    index: Option<usize>,
    /// Compare the runs that are finished, and train none; exit code 1 if some are not
    #[arg(long)]
    collect: bool,
    /// Write scripts for Slurm: an array of the runs that are to be done, and a job behind it that compares
    #[arg(long = "slurm")]
    for_slurm: bool,
}

/// The runs of a sweep, each with its folder where it has one.
struct Members {
    seal: Seal,
    out: PathBuf,
    name: String,
    experiments: Vec<Experiment>,
    found: Vec<Option<RunDir>>,
}

/// A run and what it is.
type Made = (RunDir, Experiment);

/// A line of `--list`.
#[derive(Serialize)]
struct Member {
    index: usize,
    run: PathBuf,
    /// What tells it from the others.
    settings: String,
    #[serde(flatten)]
    status: Status,
}

impl Sweep {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        let members = self.members(registry)?;
        if self.part.list {
            return Ok(say_list(&members.list(), self.job.json)?);
        }
        if !self.force {
            run::Sweep::check_sealed(&Folder::at(&members.out), &members.seal)?;
        }
        if self.part.for_slurm {
            return self.slurm.write(&self, &members, registry);
        }
        if let Some(index) = self.part.index {
            return self.complete_alone(members, index);
        }
        check_comparison(&Folder::at(&members.out), self.force)?;
        if self.part.collect { self.collect(members, registry) } else { self.complete(members, registry) }
    }

    /// Reads the file and looks for its runs; nothing is made.
    fn members(&self, registry: &TaskRegistry) -> Result<Members, CliError> {
        let sweep = run::Sweep::resolve(&Source::named(&self.file), &self.sets)?;
        let seal = sweep.seal();
        let experiments = sweep.configs.into_iter().map(|config| config.build(registry));
        let experiments = experiments.collect::<Result<Vec<_>, _>>()?;
        let out = self.out.clone().unwrap_or_else(|| Path::new("runs").join(&sweep.name));
        let runs = Runs::under(&out)?;
        let found = experiments.iter().map(|experiment| runs.of(experiment)).collect::<Result<Vec<_>, _>>()?;
        let as_found = |(experiment, run): (Experiment, &Option<RunDir>)| match run {
            Some(run) => run.as_lengthened(experiment),
            None => Ok(experiment),
        };
        let experiments = experiments.into_iter().zip(&found).map(as_found).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::new();
        if let Some(twin) = experiments.iter().find(|experiment| !seen.insert(experiment.config.identity())) {
            let (name, steps) = (twin.config.run_name(), twin.config.train.steps);
            let reason = format!(
                "a sweep must have runs that differ, but twice has {name}, since a shorter run in {} was lengthened to {steps} steps",
                out.display()
            );
            return Err(Failure::Request(anyhow::anyhow!(reason)).into());
        }
        Ok(Members { seal, out, name: sweep.name, experiments, found })
    }

    /// Makes the runs and completes them.
    fn complete_each(
        &self,
        experiments: Vec<Experiment>,
        out: &Path,
        seal: &Seal,
    ) -> Result<Vec<(Made, End)>, CliError> {
        let device = self.job.machine.device()?;
        self.check_memory(&experiments, device)?;
        let runs = RunDir::create_all(out, &experiments)?;
        seal_in_turn(seal, out)?;
        let stop = stop_signal();
        stop.on_exit_say("interrupted, the last checkpoints are saved; go on with the same command".to_owned());
        let runs: Vec<_> = runs.into_iter().zip(experiments).collect();
        let ends = self.complete_all(&runs, device, &stop)?;
        let done = ends.iter().filter(|end| matches!(end, End::Done)).count();
        if ends.iter().any(|end| matches!(end, End::Stopped)) {
            return Err(Failure::Interrupted(format!(
                "interrupted with {done} of {} runs done, everything is saved; go on with the same command",
                runs.len()
            ))
            .into());
        }
        Ok(runs.into_iter().zip(ends).collect())
    }

    fn check_memory(&self, experiments: &[Experiment], device: Device) -> Result<(), CliError> {
        let (runs, threads) = (usize::from(self.jobs).min(experiments.len()), self.job.machine.threads());
        let fits =
            |experiment: &Experiment| experiment.check_memory(Work::Training, device, threads.div_ceil(runs), runs);
        Ok(experiments.iter().try_for_each(fits)?)
    }

    fn complete(&self, members: Members, registry: &TaskRegistry) -> Result<(), CliError> {
        let Members { seal, out, experiments, .. } = members;
        let (mut there, mut failed) = (Vec::new(), Vec::new());
        let settings = settings(experiments.iter());
        for ((member, end), settings) in self.complete_each(experiments, &out, &seal)?.into_iter().zip(settings) {
            match end {
                End::Failed(reason) => failed.push(format!("{} ({settings}): {reason}", member.0.path().display())),
                _ => there.push(member),
            }
        }
        self.compare(&there, failed, "failed", &out, registry)
    }

    /// Completes one run, as a task of a scheduler's array does.
    fn complete_alone(&self, members: Members, index: usize) -> Result<(), CliError> {
        let Members { seal, out, mut experiments, .. } = members;
        if index >= experiments.len() {
            let last = experiments.len() - 1;
            return Err(
                Failure::Request(anyhow::anyhow!("--index must be between 0 and {last}, but is {index}")).into()
            );
        }
        let experiment = experiments.swap_remove(index);
        for ((run, experiment), end) in self.complete_each(vec![experiment], &out, &seal)? {
            if let End::Failed(reason) = end {
                return Err(Failure::Run(anyhow::anyhow!("{}: {reason}", run.path().display())).into());
            }
            let legend = Legend::of(experiment.study.task.pairs().as_ref());
            say_summary(&run, &legend, self.job.json)?;
        }
        Ok(())
    }

    /// Compares what is finished.
    fn collect(&self, members: Members, registry: &TaskRegistry) -> Result<(), CliError> {
        let statuses = members.list();
        let (mut there, mut open) = (Vec::new(), Vec::new());
        for ((run, experiment), Member { index, status, .. }) in
            members.found.into_iter().zip(members.experiments).zip(statuses)
        {
            match run {
                Some(run) if status.is_finished() => there.push((run, experiment)),
                _ => open.push(format!("{index} is {status}")),
            }
        }
        self.compare(&there, open, "not finished", &members.out, registry)
    }

    /// Compares runs that are there; the others are named behind the comparison.
    fn compare(
        &self,
        there: &[Made],
        mut others: Vec<String>,
        what: &str,
        out: &Path,
        registry: &TaskRegistry,
    ) -> Result<(), CliError> {
        note_unfinished(there.iter().map(|(run, experiment)| (run, &experiment.config)))?;
        let rows = there.iter().map(|(run, experiment)| compared(run, &experiment.config, registry));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let compared = compare_in_turn(&rows, out).and_then(|rows| Ok(say_sweep(&rows, self.job.json)?));
        if others.is_empty() {
            return compared;
        }
        // Where the comparison fails as well, it may be for the same reason.
        let count = others.len();
        others.extend(compared.err().map(|error| format!("the comparison: {}", Failure::from(error))));
        Err(Failure::Run(anyhow::anyhow!("{count} {what}: {}", others.join("; "))).into())
    }
}

impl Members {
    fn list(&self) -> Vec<Member> {
        let settings = settings(self.experiments.iter());
        let member = |(index, (experiment, run)): (usize, (&Experiment, &Option<RunDir>))| Member {
            index,
            settings: settings[index].clone(),
            run: run.as_ref().map_or_else(|| self.out.join(experiment.config.run_name()), |run| run.path().to_owned()),
            status: Status::of(run.as_ref(), &experiment.config),
        };
        self.experiments.iter().zip(&self.found).enumerate().map(member).collect()
    }
}

/// The settings of every run that are not those of all.
fn settings<'a>(experiments: impl Iterator<Item = &'a Experiment>) -> Vec<String> {
    let fields = experiments.map(|experiment| {
        let mut fields = experiment.config.fields();
        fields.remove("name");
        fields
    });
    differences(&fields.collect::<Vec<_>>())
}

fn say_list(members: &[Member], json: bool) -> Result<(), Failure> {
    if json {
        return say_json(&members);
    }
    let width = (members.len() - 1).to_string().len();
    let line = |Member { index, run, settings, status }: &Member| {
        format!("{index:>width$}  {}  {settings}  {status}", run.display())
    };
    members.iter().try_for_each(|member| say(&line(member)))
}

/// Notes what the folder's comparison is of.
fn seal_in_turn(seal: &Seal, out: &Path) -> Result<(), CliError> {
    let folder = Folder::create(out)?;
    let _turn = folder.lock_in_turn()?;
    Ok(seal.write_to(&folder, run::Sweep::SEAL)?)
}

/// Writes the comparison of the sweep's runs, while no other process writes the same.
fn compare_in_turn(complete: &[Compared], out: &Path) -> Result<Vec<SweepRow>, CliError> {
    let folder = Folder::create(out)?;
    let _turn = folder.lock_in_turn()?;
    Ok(write_comparison(complete, ProbeKind::CD, &folder)?)
}
