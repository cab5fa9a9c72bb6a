//! Why a configuration or a run was refused.

use std::path::PathBuf;

use data::TaskError;
use model::ModelError;
use probe::ProbeError;
use record::RecordError;
use thiserror::Error;

use crate::Ended;

/// Why a configuration was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Neither a file nor a preset.
    #[error("{field} must be a TOML file{}, but is {found:?}: {reason}", or_preset(.presets))]
    NotFound {
        /// Where it was asked for.
        field: Box<str>,
        /// What was asked for.
        found: Box<str>,
        /// The built-in presets that might have been meant; none where it had to be a file.
        presets: Box<str>,
        /// What the operating system said.
        reason: String,
    },
    /// Not TOML.
    #[error("{origin}: not TOML: {reason}")]
    Syntax {
        /// File, preset or option.
        origin: String,
        /// What the parser said.
        reason: String,
    },
    /// A field is missing, unknown, or of another type.
    #[error("{reason}")]
    Shape {
        /// What the parser said, with the field's path.
        reason: String,
    },
    /// A `--set` that is not `path=value`.
    #[error("--set must be PATH=VALUE with dots between the parts of PATH, but is {found:?}: {reason}")]
    Set {
        /// The argument.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that extends itself, over others or at once.
    #[error("extends must not lead in a circle, but does: {}", files.join(" → "))]
    Circle {
        /// The files, the first again at the end.
        files: Vec<String>,
    },
    /// Presets or files that extend one another over many steps.
    #[error("extends must lead to a preset or file that extends nothing in {most} steps, but {found:?} is one more")]
    Chain {
        /// The most steps.
        most: usize,
        /// The one named too late.
        found: String,
    },
    /// A field has a value outside its range.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// Path of the field.
        field: String,
        /// The allowed values.
        range: String,
        /// The value found.
        value: String,
    },
    /// The task's own fields.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The fields of `[eval]` and `[probe]`.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The model's own fields.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Why something on disk could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file, a table or a lock.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Not a run directory.
    #[error(
        "{} is not a run: it has no {missing}{}", path.display(),
        around.as_ref().map(|run| format!("; did you mean the run it lies in, {}?", run.display())).unwrap_or_default()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file every run has.
        missing: &'static str,
        /// The run that it is a part of.
        around: Option<PathBuf>,
    },
    /// Checkpoints, none of which training can go on from.
    #[error(
        "{newest}; no other checkpoint of {} has its optimizer state, so training cannot go on; to keep what is there under \
         another name and begin anew: resume {} --anew", path.display(), path.display()
    )]
    NothingWhole {
        /// The run directory.
        path: PathBuf,
        /// What is wrong with the newest.
        newest: String,
    },
    /// To begin anew was asked for, and is not needed.
    #[error("--anew is for a run without a whole checkpoint, but {} has one of step {step}; leave it out", path.display())]
    Whole {
        /// The run directory.
        path: PathBuf,
        /// The newest.
        step: usize,
    },
    /// A run that ended as `train.until` asks was to be lengthened.
    #[error("{}: {ended}; to train for longer, make a run without train.until", path.display())]
    Ended {
        /// The run directory.
        path: PathBuf,
        /// How it ended.
        ended: Ended,
    },
    /// A configuration that continues from weights which are not there.
    #[error("finetune.weights must lie at {}, but there are none; `finetune RUN` makes such a run", path.display())]
    NoStart {
        /// Where they would lie.
        path: PathBuf,
    },
    /// A folder for what a run was asked about another task, in which nothing is trained or measured by its own name.
    #[error(
        "{} has what the models of {run} were asked about another task; to ask them more, give a measuring command the folder \
         of that run and --task {task}", path.display()
    )]
    Asked {
        /// The folder.
        path: PathBuf,
        /// Name of the run.
        run: String,
        /// The file with the task.
        task: String,
    },
    /// A folder in which language models were measured.
    #[error("{} is a run of language models; the commands for these begin with `lm`", path.display())]
    OfLanguageModels {
        /// The folder.
        path: PathBuf,
    },
    /// A run was asked about a task of that name before, which was another.
    #[error("{} was asked with other settings ({changes}); give the file another name", path.display())]
    AskedOtherwise {
        /// The folder for what was asked.
        path: PathBuf,
        /// The fields that differ, with both values.
        changes: String,
    },
    /// The program that draws a task's prompts was changed.
    #[error(
        "{}: the program that task.command names draws other prompts than when the run was made; bring back the one of before, \
         or give it another task.version, which is another run", path.display()
    )]
    OtherPrompts {
        /// The run's configuration.
        path: PathBuf,
    },
    /// The configuration in the run directory is damaged.
    #[error("{}: {error}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why it was refused.
        error: ConfigError,
    },
    /// A configuration that was edited after it was sealed.
    #[error("{} was changed since the run was made: {changes}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The fields that differ, with both values.
        changes: String,
    },
    /// The configuration of a run without a seal is not the one that its folder is named after.
    #[error(
        "{} was changed since training: the hash in the folder's name is {expected}, but that of the configuration is {found}",
        path.display()
    )]
    ChangedSince {
        /// The file.
        path: PathBuf,
        /// The hash in the name.
        expected: String,
        /// The hash of the configuration.
        found: String,
    },
    /// The run that is asked for is there, but measured with other settings.
    #[error("{} is this run, but is measured with other settings: {changes}; to measure it again: remeasure {}{sets}", path.display(), path.display())]
    MeasuredOtherwise {
        /// Its folder.
        path: PathBuf,
        /// The fields that differ, with both values.
        changes: String,
        /// The options that ask for the new values.
        sets: String,
    },
    /// A sweep that has not all runs of the one that was compared in the same folder.
    #[error(
        "{}: the runs compared there must all be in this sweep, but {missing} of them are not, first {first} ({changes}); \
         choose another folder with --out, or compare these runs instead with --force", path.display()
    )]
    OtherSweep {
        /// The file that says what was compared.
        path: PathBuf,
        /// How many are missing.
        missing: usize,
        /// The name of the first.
        first: String,
        /// The fields that differ, with both values.
        changes: String,
    },
    /// A change of a run's configuration that is malformed or not allowed.
    #[error(transparent)]
    Refused {
        /// Why.
        error: ConfigError,
    },
    /// A run that has not begun, or whose checkpoints were removed.
    #[error("{} has no checkpoint", path.display())]
    Untrained {
        /// The run directory.
        path: PathBuf,
    },
    /// A checkpoint that the configuration does not fit.
    #[error("{} is of another model than its configuration describes: {error}", path.display())]
    OtherModel {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        error: ConfigError,
    },
    /// No checkpoint at that step.
    #[error("step must be one of the checkpoints of {} ({known}), but is {step}", path.display())]
    NoCheckpoint {
        /// The run directory.
        path: PathBuf,
        /// The step asked for.
        step: usize,
        /// The steps there are.
        known: String,
    },
}

impl RunError {
    /// Whether it is a request that cannot be, and no failure: something is asked for that is not there, that the run
    /// was not made with, or that takes a task which this program does not know.
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Self::NotARun { .. }
                | Self::NoCheckpoint { .. }
                | Self::Whole { .. }
                | Self::Ended { .. }
                | Self::NoStart { .. }
                | Self::Config {
                    error: ConfigError::Task(
                        TaskError::UnknownKind { .. }
                            | TaskError::NotAllowed { .. }
                            | TaskError::Material { .. }
                            | TaskError::Generator { .. }
                    ),
                    ..
                }
                | Self::Record(RecordError::Occupied { .. })
                | Self::MeasuredOtherwise { .. }
                | Self::OtherSweep { .. }
                | Self::Asked { .. }
                | Self::OfLanguageModels { .. }
                | Self::AskedOtherwise { .. }
                | Self::OtherPrompts { .. }
                | Self::Refused { .. }
        )
    }
}

fn or_preset(presets: &str) -> String {
    if presets.is_empty() { String::new() } else { format!(" or one of the presets {presets}") }
}
