//! `analysis export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use data::TaskRegistry;

use crate::cli::OnRun;
use crate::terminal::Failure;
use crate::{StatesExport, write_gpt2};

/// What to export, and where to.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    on: OnRun,
    /// Checkpoint to export [default: the last]
    #[arg(long)]
    step: Option<usize>,
    /// What to export [default: states, or the model with --format hf]
    #[arg(long)]
    what: Option<What>,
    /// File format [default: npz for states, hf for the model]
    #[arg(long)]
    format: Option<Format>,
    /// Resample of the decodability table whose states are exported
    #[arg(long, default_value_t = 0)]
    resample: usize,
    /// File or folder to write [default: export/STEP.npz or export/STEP.hf in the run's folder]
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Prompts, hidden states, predictions and the probes' guesses
    States,
    /// The weights
    Model,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// NumPy arrays
    Npz,
    /// A folder that transformers' GPT2Model.from_pretrained loads
    Hf,
}

impl Export {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<PathBuf, Failure> {
        let hf = match (self.what, self.format) {
            (None | Some(What::Model), Some(Format::Hf)) | (Some(What::Model), None) => true,
            (None | Some(What::States), Some(Format::Npz) | None) => false,
            (Some(What::States), Some(Format::Hf)) => return Err(mismatch("states with hf")),
            (Some(What::Model), Some(Format::Npz)) => return Err(mismatch("model with npz")),
        };
        let (run, experiment) = self.on.open(registry)?;
        let last = run.steps()?.last().copied().unwrap_or(0);
        let step = self.step.unwrap_or(last);
        let out = self.out.unwrap_or_else(|| run.export_path(step, if hf { "hf" } else { "npz" }));
        if hf {
            write_gpt2(&run, step, &out)?;
        } else {
            let export = StatesExport::collect(&run, &experiment, step, self.resample, self.on.machine.device)?;
            export.write_npz(&out)?;
        }
        Ok(out)
    }
}

fn mismatch(found: &str) -> Failure {
    Failure::Request(anyhow::anyhow!("--what and --format must be states with npz or model with hf, but are {found}"))
}
