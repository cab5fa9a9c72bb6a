//! A run as the list tells of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use analysis::{Latest, Shown, has_emerged, legend_of};
use data::TaskRegistry;
use run::{Config, RunDir};
use serde::Serialize;
use trainer::{Contents, State, Status, TrainingRow};

use crate::confined::leads_outside;
use crate::pace::Pace;
use crate::stamps::Stamps;

/// What is said of a run that is trained and not finished.
const UNREPORTED: &str = "trained, but not all is measured and reported; resume does the rest";

/// A run of the list, and what it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) run: RunDir,
    pub(crate) line: Line,
    /// Its settings by their paths; none of what has no configuration.
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    stamps: Stamps,
    pace: Pace,
}

/// What the list tells of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) state: Phase,
    /// Why it failed, what is damaged, or who has it.
    note: Option<String>,
    /// Step that it has come to.
    step: Option<usize>,
    /// Steps that it trains for.
    steps: Option<usize>,
    /// When it will be trained if it goes on as it did, in seconds since 1970.
    ends: Option<u64>,
    /// Whether the concept can be read.
    emerged: bool,
    /// What was measured last.
    #[serde(flatten)]
    latest: Latest,
}

/// What becomes of a run, for the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Its files have not been read yet.
    Unread,
    Running,
    Stopped,
    Failed,
    Finished,
    /// Measurements of a language model, which nothing here trains.
    LanguageModel,
    /// Its files cannot be read.
    Damaged,
}

impl Entry {
    /// A run that is there, before its files are read.
    pub(crate) fn unread(name: String, run: RunDir) -> Self {
        let (line, settings) = (Line::new(name, Phase::Unread, None), Arc::default());
        Self { run, line, settings, stamps: Stamps::default(), pace: Pace::default() }
    }

    /// Whether it has to be read again: a file was changed, or might have been, or a process that had it may be gone.
    pub(crate) fn is_outdated(&self) -> bool {
        self.line.state == Phase::Running || !self.stamps.are_settled() || self.stamps != Stamps::of(&self.run)
    }

    /// Nothing, if it can be shown: of a training, read, whole and inside the folder.
    ///
    /// # Errors
    /// When it is not; says why, for whoever asks for it.
    pub(crate) fn readable(&self) -> Result<(), String> {
        let Line { name, state, note, .. } = &self.line;
        match state {
            Phase::Unread => Err(format!("{name} has not been read yet.")),
            Phase::Damaged => Err(note.clone().unwrap_or_default()),
            Phase::LanguageModel => {
                Err(format!("{name} holds measurements of a language model: the command lm explore writes their page."))
            }
            Phase::Running | Phase::Stopped | Phase::Failed | Phase::Finished => Ok(()),
        }
    }

    /// A number that is another when the page of the run has something else to show.
    pub(crate) fn version(&self) -> u64 {
        self.stamps.version()
    }

    /// Whether nothing is to be told of it that was not told already.
    pub(crate) fn is_as(&self, before: &Self) -> bool {
        self.stamps == before.stamps && self.line == before.line && self.settings == before.settings
    }

    /// The same run, from its files. What lies outside of `root` is not read.
    pub(crate) fn read_again(&self, root: &Path, registry: &TaskRegistry) -> Self {
        // Ahead of everything: what is changed while it is read has another time then.
        let stamps = Stamps::of(&self.run);
        let mut entry = Self { stamps, ..Self::unread(self.line.name.clone(), self.run.clone()) };
        entry.pace = self.pace.clone();
        if let Err(reason) = entry.read(root, registry) {
            entry.line.state = Phase::Damaged;
            // Where the folder lies is said once, above the list.
            entry.line.note = Some(reason.trim_end().replace(&format!("{}/", root.display()), ""));
        }
        entry
    }

    fn read(&mut self, root: &Path, registry: &TaskRegistry) -> Result<(), String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        match leads_outside(root, self.run.path()) {
            Ok(None) => {}
            Ok(Some(link)) => {
                return Err(format!("{} is a link that leads out of the folder that is shown", link.display()));
            }
            Err(error) => return Err(format!("it cannot be read: {error}")),
        }
        let resamples = match Contents::of(&self.run) {
            Contents::Training(config) => {
                self.settings = Arc::new(config.fields());
                self.follow(&config)?;
                Some(config.probe.resamples)
            }
            Contents::LanguageModel => {
                self.line.state = Phase::LanguageModel;
                None
            }
            Contents::Damaged(error) => return Err(error.to_string()),
        };
        let legend = legend_of(&self.run, registry).map_err(|error| text(&error))?;
        let shown = Shown { folder: self.run.folder(), legend: &legend };
        let latest = Latest::read(&shown).map_err(|error| text(&error))?;
        let emerged = |[_, lo, hi]: [f64; 3]| Some(has_emerged([lo, hi], latest.chance, resamples?) == Some(true));
        self.line.emerged = latest.cd.and_then(emerged).unwrap_or(false);
        self.line.latest = latest;
        Ok(())
    }

    /// How far a training has come, and when it will be done.
    fn follow(&mut self, config: &Config) -> Result<(), String> {
        let Status { state, step, steps } = Status::of(Some(&self.run), config);
        (self.line.step, self.line.steps) = (step, Some(steps));
        (self.line.state, self.line.note) = match state {
            State::Running { by } => (Phase::Running, Some(by.to_string())),
            State::Failed { reason } => (Phase::Failed, Some(reason)),
            State::Finished => (Phase::Finished, self.run.ended().ok().flatten().map(|ended| ended.to_string())),
            State::Stopped if step.is_some() && step == self.run.end(config).ok() => {
                (Phase::Stopped, Some(UNREPORTED.to_owned()))
            }
            State::Stopped | State::Missing => (Phase::Stopped, None),
        };
        if self.line.state != Phase::Running {
            self.pace = Pace::default();
            return Ok(());
        }
        let rows = self.run.table::<TrainingRow>().newest().map_err(|error| error.to_string())?;
        if let (Some(row), Some(at)) = (rows.last(), self.stamps.trained()) {
            self.line.step = step.max(Some(row.step));
            self.pace.reach(row.step, at);
        }
        self.line.ends = self.pace.end(steps).and_then(seconds);
        Ok(())
    }
}

impl Line {
    fn new(name: String, state: Phase, note: Option<String>) -> Self {
        Self { name, state, note, step: None, steps: None, ends: None, emerged: false, latest: Latest::default() }
    }
}

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
