//! `trainer sweep`.
//!
//! Runs that go on at the same time are threads of this process, not processes of their own. One flag then stops all of
//! them, whoever sent the signal and however often; nothing goes on by itself when this process is killed; and a program
//! with tasks of its own needs no way to start itself again. Rayon's global pool would be shared by all, so each job has
//! a pool of its own. On a GPU every thread has its own stream, so runs of small models fill it together. A run's memory is
//! given back when it ends.
//!
//! Several processes, on one machine or on many, may work on the same sweep. Each takes the runs that nobody has, and in
//! the end waits for those that others have, so that each sees all runs done and writes the whole comparison.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use analysis::{
    CliError, Compared, SweepRow, check_comparison, compared, note_unfinished, say_sweep, write_comparison,
};
use clap::Args;
use data::TaskRegistry;
use model::Device;
use probe::ProbeKind;
use rayon::ThreadPool;
use record::{Folder, Holder, RecordError, Seal};
use run::{Experiment, RunDir, RunError, Source, Work};
use terminal::{Failure, Stop, note, stop_signal};

use super::job::{complete, is_complete};
use super::{Job, pools};
use crate::Outcome;

/// What to sweep over, and how.
#[derive(Debug, Args)]
pub struct Sweep {
    /// TOML file with a preset's fields and `seeds`, `[grid]` and `[[runs]]`, or a preset
    file: String,
    /// Replace a field before anything is varied: --set train.steps=100; may be given many times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Runs that are trained at the same time and share the threads; on a GPU, N of them need N + 1 threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    #[command(flatten)]
    job: Job,
    /// Folder that runs, tables and figures are made in [default: runs/NAME]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write over tables and figures in that folder that no comparison wrote, or the comparison of other runs
    #[arg(long)]
    force: bool,
}

/// How one run of a sweep ended, if it did.
#[derive(Debug, PartialEq)]
enum End {
    Done,
    Stopped,
    Failed(String),
    /// Another process has it.
    Busy(Box<Holder>),
}

impl Sweep {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        let sweep = run::Sweep::resolve(&Source::named(&self.file), &self.sets)?;
        let seal = sweep.seal();
        let experiments = sweep.configs.into_iter().map(|config| config.build(registry));
        let experiments = experiments.collect::<Result<Vec<_>, _>>()?;
        let device = self.job.machine.device()?;
        let (runs, threads) = (usize::from(self.jobs).min(experiments.len()), self.job.machine.threads());
        let fits =
            |experiment: &Experiment| experiment.check_memory(Work::Training, device, threads.div_ceil(runs), runs);
        experiments.iter().try_for_each(fits)?;
        let out = self.out.clone().unwrap_or_else(|| Path::new("runs").join(&sweep.name));
        check_comparison(&Folder::at(&out), self.force)?;
        if !self.force {
            run::Sweep::check_sealed(&Folder::at(&out), &seal)?;
        }
        // All are looked at before the first is made.
        let existing = experiments.iter().map(|experiment| RunDir::existing(&out, experiment));
        let existing = existing.collect::<Result<Vec<_>, RunError>>()?;
        let create = |(experiment, existing): (Experiment, Option<RunDir>)| {
            Ok((existing.map_or_else(|| RunDir::create(&out, &experiment), Ok)?, experiment))
        };
        let runs = experiments.into_iter().zip(existing).map(create).collect::<Result<Vec<_>, RunError>>()?;
        seal_in_turn(&seal, &out)?;
        let stop = stop_signal();
        stop.on_exit_say("interrupted, everything is saved; go on with the same command".to_owned());
        let ends = self.complete_all(&runs, device, &stop)?;
        let done = ends.iter().filter(|end| matches!(end, End::Done)).count();
        if ends.iter().any(|end| matches!(end, End::Stopped)) {
            return Err(Failure::Interrupted(format!(
                "interrupted with {done} of {} runs done, everything is saved; go on with the same command",
                runs.len()
            ))
            .into());
        }
        let (mut complete, mut failed) = (Vec::new(), Vec::new());
        for ((run, experiment), end) in runs.iter().zip(ends) {
            match end {
                End::Failed(reason) => failed.push(format!("{}: {reason}", run.path().display())),
                _ => complete.push(compared(run, &experiment.config, registry)?),
            }
        }
        note_unfinished(runs.iter().map(|(run, experiment)| (run, &experiment.config)))?;
        let compared = compare_in_turn(&complete, &out).and_then(|rows| Ok(say_sweep(&rows, self.job.json)?));
        if failed.is_empty() {
            return compared;
        }
        // Where the comparison fails as well, it may be for the same reason.
        let count = failed.len();
        failed.extend(compared.err().map(|error| format!("the comparison: {}", Failure::from(error))));
        Err(Failure::Run(anyhow::anyhow!("{count} failed: {}", failed.join("; "))).into())
    }

    /// Completes every run, a few at a time, each on its share of the threads; in the order of `runs`.
    fn complete_all(&self, runs: &[(RunDir, Experiment)], device: Device, stop: &Stop) -> Result<Vec<End>, Failure> {
        let jobs = self.jobs_for(runs.len(), device);
        let pools = pools(self.job.machine.threads(), jobs)?;
        // Runs that have not ended, by their places in `runs`, and what came of the last look at each.
        let open: Mutex<VecDeque<(usize, Option<End>)>> = Mutex::new((0..runs.len()).map(|i| (i, None)).collect());
        let ends: Vec<Mutex<End>> = runs.iter().map(|_| Mutex::new(End::Stopped)).collect();
        let next = || locked(&open).pop_front();
        let work = |pool: &ThreadPool| {
            while let Some((i, before)) = next() {
                // The runs that nobody had came before it.
                if before.is_some() {
                    pause(stop);
                }
                let started = Instant::now();
                let end = pool.install(|| self.complete_one(&runs[i], device, stop));
                if !self.job.quiet && before.as_ref() != Some(&end) {
                    let (path, seconds) = (runs[i].0.path().display(), started.elapsed().as_secs());
                    note(&format!("{path}: {end}, run {} of {}, {seconds} s", i + 1, runs.len()));
                }
                match end {
                    busy @ End::Busy(_) => locked(&open).push_back((i, Some(busy))),
                    end => *locked(&ends[i]) = end,
                }
            }
        };
        thread::scope(|scope| {
            pools.iter().try_for_each(|pool| thread::Builder::new().spawn_scoped(scope, || work(pool)).map(drop))
        })
        .map_err(|error| Failure::threads(jobs, error))?;
        Ok(ends.into_iter().map(|end| end.into_inner().expect("nothing panics while it has the lock")).collect())
    }

    /// How many of the sweep's runs go on at the same time.
    fn jobs_for(&self, runs: usize, device: Device) -> usize {
        let (asked, threads) = (usize::from(self.jobs).min(runs), self.job.machine.threads());
        let jobs = at_a_time(asked, device.is_cpu(), threads);
        if jobs < asked && !self.job.quiet {
            note(&format!(
                "{jobs} runs at a time instead of {asked}: on a GPU, N of them need N + 1 threads, and there are {threads}"
            ));
        }
        jobs
    }

    /// Completes a run, unless it is complete already or another process has it.
    fn complete_one(&self, (run, experiment): &(RunDir, Experiment), device: Device, stop: &Stop) -> End {
        if stop.is_asked() {
            return End::Stopped;
        }
        let complete = || {
            // What another writes at this moment may not be readable. What is not when nobody has the run is an error below.
            if is_complete(run, experiment).unwrap_or(false) {
                return Ok(End::Done);
            }
            let lock = match run.lock() {
                Err(RunError::Record(RecordError::Locked { holder, .. })) => return Ok(End::Busy(holder)),
                lock => lock?,
            };
            // The progress of several runs at a time would be a muddle.
            let quiet = self.job.quiet || self.jobs > 1;
            Ok::<_, CliError>(match complete(run, &lock, experiment, device, quiet, stop)? {
                Outcome::Finished => End::Done,
                Outcome::Interrupted(_) => End::Stopped,
            })
        };
        // A panic is a bug, but of this run; the others have a right to their time.
        match catch_unwind(AssertUnwindSafe(complete)) {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => End::Failed(Failure::from(error).to_string()),
            Err(_) => End::Failed("a bug, reported above".to_owned()),
        }
    }
}

/// Notes what the folder's comparison is of.
fn seal_in_turn(seal: &Seal, out: &Path) -> Result<(), CliError> {
    let folder = Folder::create(out)?;
    let _turn = folder.lock_in_turn()?;
    Ok(seal.write_to(&folder, run::Sweep::SEAL)?)
}

/// Waits a second, or until asked to stop. So a thread looks at one run a second, however many there are: each look costs
/// those who share the disk.
fn pause(stop: &Stop) {
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until && !stop.is_asked() {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Writes the comparison of the sweep's runs, while no other process writes the same.
fn compare_in_turn(complete: &[Compared], out: &Path) -> Result<Vec<SweepRow>, CliError> {
    let folder = Folder::create(out)?;
    let _turn = folder.lock_in_turn()?;
    Ok(write_comparison(complete, ProbeKind::CD, &folder)?)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it has the lock")
}

/// How many of the runs that are asked for go on at the same time. On a GPU each keeps a thread busy that launches kernels,
/// and CubeCL's keeps another; they wait for each other without giving way, so that with fewer cores they would be many
/// times slower than one after the other.
fn at_a_time(asked: usize, on_cpu: bool, threads: usize) -> usize {
    if on_cpu { asked } else { asked.min(threads.saturating_sub(1)).max(1) }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
            Self::Busy(holder) => write!(f, "busy, {holder} has it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::at_a_time;

    #[test]
    fn runs_on_a_gpu_leave_a_thread_free() {
        assert_eq!([1, 2, 3, 16].map(|threads| at_a_time(5, false, threads)), [1, 1, 2, 5]);
        assert_eq!([1, 16].map(|threads| at_a_time(5, true, threads)), [5, 5]);
    }
}
