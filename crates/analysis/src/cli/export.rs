//! `analysis export`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use data::TaskRegistry;
use model::{Kind, Latent};
use probe::Subjects;
use record::{Output, remove_empty_folder, write_together};
use run::{Checkpoints, Experiment, RunDir};
use terminal::Failure;

use crate::cli::{CliError, OnRun};
use crate::measurements::MEAN_PROMPTS;
use crate::{MeasureError, StatesExport, scalars, write_prompts, write_scalars};

/// The file in the folder that TensorBoard is shown; it looks for `tfevents` in the name.
const EVENTS: &str = "events.out.tfevents.emergence";

/// What to export, and where to.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoint whose states or model are exported [default: the last]
    #[arg(long, value_parser = terminal::whole::<usize>(0, None))]
    step: Option<usize>,
    /// What to export [default: states; the model with --format hf, the tables with --format tensorboard]
    #[arg(long)]
    what: Option<What>,
    /// File format [default: npz for states and prompts, hf for the model, tensorboard for the tables]
    #[arg(long)]
    format: Option<Format>,
    /// Resample of the decodability table whose states are exported [default: 0]
    #[arg(long, value_parser = terminal::whole::<usize>(0, None))]
    resample: Option<usize>,
    /// Prompts of every concept that its mean activation is taken over, as given to `patch`; for --what prompts
    /// [default: 100]
    #[arg(long, value_name = "N", value_parser = terminal::whole::<u32>(1, Some(100_000)))]
    mean_prompts: Option<u32>,
    /// File or folder to write [default: STEP.npz, STEP.hf, prompts.npz or tensorboard in export/ in the run's folder]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write over what is there, even if it is no earlier export; files of a run are never written over
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Prompts, hidden states, predictions and the probes' guesses
    States,
    /// The weights
    Model,
    /// The prompts that `patch` works with, for programs that repeat it
    Prompts,
    /// The numbers of every table with a step, as curves
    Tables,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// NumPy arrays
    Npz,
    /// A folder that transformers' GPT2Model.from_pretrained loads
    Hf,
    /// A folder that `tensorboard --logdir` shows
    Tensorboard,
}

impl Export {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, CliError> {
        let what = match (self.what, self.format) {
            (None, Some(Format::Hf)) | (Some(What::Model), None | Some(Format::Hf)) => What::Model,
            (None, Some(Format::Tensorboard)) | (Some(What::Tables), None | Some(Format::Tensorboard)) => What::Tables,
            (None, None | Some(Format::Npz)) => What::States,
            (Some(what @ (What::States | What::Prompts)), None | Some(Format::Npz)) => what,
            (Some(what), Some(format)) => {
                let found = format!("{what:?} with {format:?}").to_lowercase();
                let range = "states or prompts with npz, model with hf, or tables with tensorboard";
                let message = anyhow::anyhow!("--what and --format must be {range}, but are {found}");
                return Err(Failure::Request(message).into());
            }
        };
        self.check_options(what)?;
        let open = || self.on.open(registry);
        // Prompts and tables need no checkpoint.
        let step = |run: &RunDir| self.step.map_or_else(|| run.last_step(), Ok);
        let out = |own: PathBuf| self.out.clone().unwrap_or(own);
        let written = match what {
            What::States => {
                let (run, experiment, device) = open()?;
                let step = step(&run)?;
                let checkpoints = Checkpoints::new(&run, &experiment, device);
                let subject = checkpoints.at(step)?;
                let export = StatesExport::collect(&experiment.study, &*subject, self.resample.unwrap_or(0))?;
                let out = out(run.export_path(step, "npz"));
                export.write_npz(&out, self.force)?;
                out
            }
            What::Model => {
                let (run, experiment, _) = open()?;
                let step = step(&run)?;
                let out = out(run.export_path(step, "hf"));
                write_gpt2(&run, &experiment, step, &out, self.force)?;
                out
            }
            What::Prompts => {
                let (run, experiment, _) = open()?;
                let out = out(run.prompts_path());
                let per_concept = self.mean_prompts.unwrap_or(MEAN_PROMPTS) as usize;
                write_prompts(&experiment.study, experiment.architecture.d_model, per_concept, &out, self.force)?;
                out
            }
            // Tables need no task either, so that those of any program are exported.
            What::Tables => {
                let run = RunDir::open(&self.on.run)?;
                let out = out(run.tensorboard_path());
                write_tables(&run, &out, self.force)?;
                out
            }
        };
        Ok(written)
    }

    /// Errors if there is an option that what is exported does not depend on.
    fn check_options(&self, what: What) -> Result<(), Failure> {
        let options = [
            ("--step", self.step.is_some(), "states or model", matches!(what, What::States | What::Model)),
            ("--resample", self.resample.is_some(), "states", what == What::States),
            ("--mean-prompts", self.mean_prompts.is_some(), "prompts", what == What::Prompts),
        ];
        match options.into_iter().find(|(_, given, _, fits)| *given && !fits) {
            None => Ok(()),
            Some((option, _, with, _)) => {
                let what = format!("{what:?}").to_lowercase();
                Err(Failure::Request(anyhow::anyhow!("{option} must go with --what {with}, but is given with {what}")))
            }
        }
    }
}

/// Writes the model at `step` as a folder that `transformers.GPT2Model.from_pretrained` loads, its read-in and
/// read-out beside it.
///
/// # Errors
/// When the model is no transformer or has a latent, which GPT-2 has not; when the checkpoint cannot be read, something else
/// is in the folder and `force` is not given, or it cannot be written.
fn write_gpt2(run: &RunDir, experiment: &Experiment, step: usize, folder: &Path, force: bool) -> Result<(), CliError> {
    let checkpoint = run.checkpoint(experiment, step)?;
    let kind = checkpoint.architecture.kind;
    if kind != Kind::Transformer {
        return Err(MeasureError::out_of_range("model.kind", "transformer for GPT2Model", kind).into());
    }
    if let Some(Latent { width, .. }) = checkpoint.architecture.latent {
        let (range, value) = ("absent for GPT2Model", format!("of width {width}"));
        return Err(MeasureError::out_of_range("model.latent", range, value).into());
    }
    let files =
        model::gpt2(&checkpoint.architecture, &checkpoint.weights).map(|(name, bytes)| (folder.join(name), bytes));
    let output = Output { mark: model::GPT2_MARK, force };
    // Whose the configuration is, the weights beside it are.
    let checked = if files[0].0.is_file() { &files[..1] } else { &files[..] };
    checked.iter().try_for_each(|(path, _)| output.check(path))?;
    write_together(&files).map_err(|error| {
        // Only an empty folder can be removed in this way.
        let _ = remove_empty_folder(folder);
        error.into()
    })
}

/// Writes the scalars of the run's tables to a folder that `tensorboard --logdir` shows.
///
/// # Errors
/// When there are none yet, a table is damaged, something else is in the folder and `force` is not given, or it cannot be
/// written.
fn write_tables(run: &RunDir, folder: &Path, force: bool) -> Result<(), CliError> {
    let scalars = scalars(run.path())?;
    if scalars.is_empty() {
        let message = anyhow::anyhow!("{} has no table with a step yet", run.path().display());
        return Err(Failure::Request(message).into());
    }
    Ok(write_scalars(&scalars, &folder.join(EVENTS), force)?)
}
