//! `trainer sweep`.
//!
//! Runs that go on at the same time are threads of this process, not processes of their own. One flag then stops all of
//! them, whoever sent the signal and however often; nothing goes on by itself when this process is killed; and a program
//! with tasks of its own needs no way to start itself again. Rayon's global pool would be shared by all, so each job has
//! a pool of its own. On a GPU every thread has its own stream, so runs of small models fill it together. A run's memory is
//! given back when it ends.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use analysis::{CliError, check_comparison, compared, note_unfinished, say_sweep, write_comparison};
use clap::Args;
use data::TaskRegistry;
use model::Device;
use probe::ProbeKind;
use rayon::ThreadPool;
use record::Folder;
use run::{Experiment, RunDir, RunError, Source};
use terminal::{Failure, note, stop_signal};

use super::job::{complete, is_complete};
use super::{Job, pools};
use crate::{Outcome, memory};

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
    /// Write over tables and figures in that folder that no comparison wrote
    #[arg(long)]
    force: bool,
}

/// How one run of a sweep ended.
#[derive(Debug)]
enum End {
    Done,
    Stopped,
    Failed(String),
}

impl Sweep {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        let sweep = run::Sweep::resolve(&Source::named(&self.file), &self.sets)?;
        let experiments = sweep.configs.into_iter().map(|config| config.build(registry));
        let experiments = experiments.collect::<Result<Vec<_>, _>>()?;
        let device = self.job.machine.device()?;
        experiments.iter().try_for_each(|experiment| memory::check(experiment, device))?;
        let out = self.out.clone().unwrap_or_else(|| Path::new("runs").join(&sweep.name));
        check_comparison(&Folder::at(&out), self.force)?;
        // All are looked at before the first is made.
        let existing = experiments.iter().map(|experiment| RunDir::existing(&out, experiment));
        let existing = existing.collect::<Result<Vec<_>, RunError>>()?;
        let create = |(experiment, existing): (Experiment, Option<RunDir>)| {
            Ok((existing.map_or_else(|| RunDir::create(&out, &experiment), Ok)?, experiment))
        };
        let runs = experiments.into_iter().zip(existing).map(create).collect::<Result<Vec<_>, RunError>>()?;
        let stop = stop_signal()?;
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
        say_sweep(&write_comparison(&complete, ProbeKind::CD, &Folder::create(&out)?)?, self.job.json)?;
        match failed.as_slice() {
            [] => Ok(()),
            failed => Err(Failure::Run(anyhow::anyhow!("{} failed: {}", failed.len(), failed.join("; "))).into()),
        }
    }

    /// Completes every run, a few at a time, each on its share of the threads; in the order of `runs`.
    fn complete_all(
        &self,
        runs: &[(RunDir, Experiment)],
        device: Device,
        stop: &AtomicBool,
    ) -> Result<Vec<End>, Failure> {
        let (asked, threads) = (usize::from(self.jobs).min(runs.len()), self.job.machine.threads());
        let jobs = at_a_time(asked, device.is_cpu(), threads);
        if jobs < asked && !self.job.quiet {
            note(&format!(
                "{jobs} runs at a time instead of {asked}: on a GPU, N of them need N + 1 threads, and there are {threads}"
            ));
        }
        let pools = pools(threads, jobs)?;
        let next = AtomicUsize::new(0);
        let ends: Vec<Mutex<End>> = runs.iter().map(|_| Mutex::new(End::Stopped)).collect();
        let work = |pool: &ThreadPool| {
            while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < runs.len()) {
                let started = Instant::now();
                let end = pool.install(|| self.complete_one(&runs[i], device, stop));
                if !self.job.quiet {
                    let (path, seconds) = (runs[i].0.path().display(), started.elapsed().as_secs());
                    note(&format!("{path}: {end}, run {} of {}, {seconds} s", i + 1, runs.len()));
                }
                *ends[i].lock().expect("nothing panics while it has the lock") = end;
            }
        };
        thread::scope(|scope| {
            pools.iter().try_for_each(|pool| thread::Builder::new().spawn_scoped(scope, || work(pool)).map(drop))
        })
        .map_err(|error| Failure::threads(jobs, error))?;
        Ok(ends.into_iter().map(|end| end.into_inner().expect("nothing panics while it has the lock")).collect())
    }

    fn complete_one(&self, (run, experiment): &(RunDir, Experiment), device: Device, stop: &AtomicBool) -> End {
        if stop.load(Ordering::Relaxed) {
            return End::Stopped;
        }
        let complete = || match is_complete(run, experiment)? {
            true => Ok(Outcome::Finished),
            // The progress of several runs at a time would be a muddle.
            false => complete(run, experiment, device, self.job.quiet || self.jobs > 1, stop),
        };
        // A panic is a bug, but of this run; the others have a right to their time.
        match catch_unwind(AssertUnwindSafe(complete)) {
            Ok(Ok(Outcome::Finished)) => End::Done,
            Ok(Ok(Outcome::Interrupted(_))) => End::Stopped,
            Ok(Err(error)) => End::Failed(Failure::from(error).to_string()),
            Err(_) => End::Failed("a bug, reported above".to_owned()),
        }
    }
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
