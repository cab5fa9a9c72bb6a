//! Who holds a lock, and whether that process is still there.

use std::fmt;
use std::fs;

use gethostname::gethostname;
use serde::{Deserialize, Serialize};

/// Where schedulers say to which job a process belongs: Slurm, PBS, LSF.
const JOBS: [&str; 3] = ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"];

/// The process that holds a lock, as the lock names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The host that it runs on.
    pub host: String,
    /// Its number there.
    pub process: u32,
    /// When it started, in ticks of the clock since the boot: a later process of the same number has another start. None where
    /// the system does not say, as only Linux does.
    pub started: Option<u64>,
    /// The scheduler's job that it belongs to, if any.
    pub job: Option<String>,
    /// Where its number means this process and no other: a boot, a namespace of processes, a user. None where the system
    /// does not say.
    within: Option<String>,
}

impl Holder {
    /// This process.
    pub(crate) fn here() -> Self {
        let process = std::process::id();
        Self {
            host: gethostname().to_string_lossy().into_owned(),
            process,
            started: start(process),
            job: JOBS.iter().find_map(|name| std::env::var(name).ok()),
            within: within(),
        }
    }

    /// Whether the process is still there; `None` where it cannot be seen from here.
    pub(crate) fn lives(&self) -> Option<bool> {
        let visible = self.within.is_some() && self.within == within();
        visible.then(|| start(self.process).is_some_and(|start| Some(start) == self.started))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.process, self.host)?;
        self.job.iter().try_for_each(|job| write!(f, ", job {job}"))
    }
}

/// Where the numbers of processes mean the same as here. Hosts may share a name, containers a host, and a system may hide
/// the processes of other users.
fn within() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
    Some(format!("boot {}, {}, user {user}", boot.trim(), namespace.display()))
}

/// When a process started, in ticks since the boot; `None` where it is not there, or has ended and only waits to be asked
/// how. See proc_pid_stat(5): fields 3 and 22, where the second, the name, may hold anything.
fn start(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let has_ended = matches!(*fields.first()?, "Z" | "X");
    if has_ended { None } else { fields.get(22 - 3)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_start() {
        let here = Holder::here();
        // Where there is no /proc, nothing can be said.
        let known = here.within.is_some();
        assert_eq!(here.lives(), known.then_some(true));
        let later = Holder { started: here.started.map(|start| start + 1), ..here.clone() };
        let gone = Holder { process: u32::MAX, ..here.clone() };
        assert_eq!([later.lives(), gone.lives()], [known.then_some(false); 2]);
        let elsewhere = Holder { within: Some("another boot".to_owned()), ..here };
        assert_eq!(elsewhere.lives(), None);
    }

    #[test]
    fn a_process_that_ended_and_was_not_asked_how_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let holder = Holder { process: child.id(), started: start(child.id()), ..Holder::here() };
        while holder.lives() == Some(true) {
            std::thread::yield_now();
        }
        assert_eq!(holder.lives(), Holder::here().lives().map(|_| false));
        child.wait().unwrap();
    }

    #[test]
    fn a_holder_is_named_with_its_host_and_its_job() {
        let job = Some("77".to_owned());
        let holder = Holder { host: "node17".to_owned(), process: 42, started: Some(9), job, within: None };
        assert_eq!(holder.to_string(), "process 42 on node17, job 77");
        assert_eq!(Holder { job: None, ..holder }.to_string(), "process 42 on node17");
    }
}
