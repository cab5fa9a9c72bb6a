//! Completing the runs of a sweep, a few at a time.
//!
//! Runs that go on at the same time are threads of this process, not processes of their own. One flag then stops all of
//! them, whoever sent the signal and however often; nothing goes on by itself when this process is killed; and a program
//! with tasks of its own needs no way to start itself again. Rayon's global pool would be shared by all, so each job has
//! a pool of its own. On a GPU every thread has its own stream, so runs of small models fill it together. A run's memory is
//! given back when it ends.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use analysis::CliError;
use model::Device;
use rayon::ThreadPool;
use record::{Holder, RecordError};
use run::{Experiment, RunDir, RunError};
use terminal::{Failure, Stop, clock, note};

use super::Sweep;
use crate::Outcome;
use crate::cli::job::{complete, is_complete};
use crate::cli::pools;

/// How one run of a sweep ended, if it did.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    Done,
    Stopped,
    /// Not begun: another failed, or as many as were asked for were begun.
    Left,
    Failed(String),
    /// Another process has it.
    Busy(Box<Holder>),
}

/// When no further run is begun.
struct Limit {
    /// Runs that may still be begun.
    runs: AtomicUsize,
    stops_at_failure: bool,
    has_failed: AtomicBool,
}

impl Limit {
    /// Whether one more may be begun, which then counts.
    fn admits_one(&self) -> bool {
        let one_less = |runs: usize| runs.checked_sub(1);
        let is_over = self.stops_at_failure && self.has_failed.load(Ordering::Relaxed);
        !is_over && self.runs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// How long the runs still take together, from how long those took that were trained here.
struct Forecast {
    started: Instant,
    /// Costs of what was done, and of what is not.
    work: Mutex<[f64; 2]>,
}

impl Forecast {
    /// What is left after a run of that cost ended so, where that can be said and anything is.
    fn after(&self, cost: f64, end: &End) -> Option<Duration> {
        let mut work = locked(&self.work);
        let [done, open] = &mut *work;
        match end {
            End::Busy(_) => {}
            End::Done => (*done, *open) = (*done + cost, *open - cost),
            End::Stopped | End::Left | End::Failed(_) => *open -= cost,
        }
        // What is left of sums after all of their parts were taken away is rounding.
        let share = (*done > 0.0 && *open > 1e-9 * *done).then(|| *open / *done)?;
        Some(self.started.elapsed().mul_f64(share.min(1e6)))
    }
}

/// What a run still costs: the arithmetic of the steps that it has not taken.
fn cost(run: &RunDir, experiment: &Experiment) -> f64 {
    let train = &experiment.config.train;
    let end = run.end(&experiment.config).unwrap_or(train.steps);
    let taken = run.steps().ok().and_then(|mut steps| steps.pop()).unwrap_or(0);
    end.saturating_sub(taken) as f64 * experiment.architecture.step_flops(train.batch_size) as f64
}

impl Sweep {
    /// Completes every run, a few at a time, each on its share of the threads; the ends are in the order of `runs`.
    pub(super) fn complete_all(
        &self,
        runs: &[(RunDir, Experiment)],
        device: Device,
        stop: &Stop,
    ) -> Result<Vec<End>, Failure> {
        let jobs = self.jobs_for(runs.len(), device);
        let pools = pools(self.job.machine.threads(), jobs)?;
        let costs: Vec<f64> = runs.iter().map(|(run, experiment)| cost(run, experiment)).collect();
        let mut order: Vec<usize> = (0..runs.len()).collect();
        if jobs > 1 {
            // The longest first: else one may go on alone in the end.
            order.sort_by(|&a, &b| costs[b].total_cmp(&costs[a]));
        }
        let forecast = Forecast { started: Instant::now(), work: Mutex::new([0.0, costs.iter().sum()]) };
        // Runs that have not ended, by their places in `runs`, and what came of the last look at each.
        let open: Mutex<VecDeque<(usize, Option<End>)>> = Mutex::new(order.into_iter().map(|i| (i, None)).collect());
        let ends: Vec<Mutex<End>> = runs.iter().map(|_| Mutex::new(End::Stopped)).collect();
        let limit = Limit {
            runs: self.max_runs.map_or(usize::MAX, usize::from).into(),
            stops_at_failure: self.fail_fast,
            has_failed: false.into(),
        };
        let next = || locked(&open).pop_front();
        let work = |pool: &ThreadPool| {
            while let Some((i, before)) = next() {
                // The runs that nobody had came before it.
                if before.is_some() {
                    pause(stop);
                }
                let started = Instant::now();
                let end = pool.install(|| self.complete_one(&runs[i], device, &limit, stop));
                let left = forecast.after(costs[i], &end);
                if !self.job.quiet && before.as_ref() != Some(&end) {
                    let (path, seconds) = (runs[i].0.path().display(), started.elapsed().as_secs());
                    let left = left.map_or(String::new(), |left| format!(", about {} left for all", clock(left)));
                    note(&format!("{path}: {end}, run {} of {}, {seconds} s{left}", i + 1, runs.len()));
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
    fn complete_one(
        &self,
        (run, experiment): &(RunDir, Experiment),
        device: Device,
        limit: &Limit,
        stop: &Stop,
    ) -> End {
        if stop.is_asked() {
            return End::Stopped;
        }
        let complete = || {
            // What another writes at this moment may not be readable. What is not when nobody has the run is an error below.
            if is_complete(run, &experiment.config).unwrap_or(false) {
                return Ok(End::Done);
            }
            let lock = match run.lock() {
                Err(RunError::Record(RecordError::Locked { holder, .. })) => return Ok(End::Busy(holder)),
                lock => lock?,
            };
            if !limit.admits_one() {
                return Ok(End::Left);
            }
            // The progress of several runs at a time would be a muddle.
            let quiet = self.job.quiet || self.jobs > 1;
            Ok::<_, CliError>(match complete(run, &lock, experiment, device, quiet, stop)? {
                Outcome::Finished => End::Done,
                Outcome::Interrupted(_) => End::Stopped,
            })
        };
        // A panic is a bug, but of this run; the others have a right to their time.
        let end = match catch_unwind(AssertUnwindSafe(complete)) {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => End::Failed(Failure::from(error).to_string()),
            Err(_) => End::Failed("a bug, reported above".to_owned()),
        };
        limit.has_failed.fetch_or(matches!(end, End::Failed(_)), Ordering::Relaxed);
        end
    }
}

/// Waits a second, or until asked to stop. So a thread looks at one run a second, however many there are: each look costs
/// those who share the disk.
fn pause(stop: &Stop) {
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until && !stop.is_asked() {
        thread::sleep(Duration::from_millis(50));
    }
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
            Self::Left => f.write_str("not begun"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
            Self::Busy(holder) => write!(f, "busy, {holder} has it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_from_what_was_trained_here() {
        let started = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let forecast = Forecast { started, work: Mutex::new([0.0, 7.0]) };
        let minutes = |cost, end| forecast.after(cost, &end).map(|left| (left.as_secs_f64() / 60.0).round());
        assert_eq!(minutes(0.0, End::Done), None, "a run that was complete tells nothing");
        assert_eq!(minutes(1.0, End::Failed("of a test".to_owned())), None);
        assert_eq!(minutes(2.0, End::Done), Some(2.0));
        assert_eq!(minutes(4.0, End::Done), None, "nothing is left");
    }

    #[test]
    fn runs_on_a_gpu_leave_a_thread_free() {
        assert_eq!([1, 2, 3, 16].map(|threads| at_a_time(5, false, threads)), [1, 1, 2, 5]);
        assert_eq!([1, 16].map(|threads| at_a_time(5, true, threads)), [5, 5]);
    }
}
