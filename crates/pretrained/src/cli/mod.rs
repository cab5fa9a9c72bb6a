//! The commands `lm`: pretrained language models.

mod check;
mod compare;
mod explore;
mod finetune;
mod measure;
mod prompts;
mod states;
mod work;

use std::path::PathBuf;

use analysis::CliError;
use clap::Subcommand;
use terminal::Failure;

use crate::{LmRun, PretrainedError};

/// The commands on pretrained language models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a folder of weights holds, and what a run with it costs
    Check(check::Check),
    /// Show the prompts of a task, as text and as tokens
    Prompts(prompts::Prompts),
    /// Measure accuracy and Concept Decodability with their controls, and write the report
    Measure(measure::Measure),
    /// A measurement of the list, on a run that is already there
    #[command(flatten)]
    OnRun(measure::OnRun),
    /// Tune low-rank adapters on the task of a run, with all or some layers free, and measure the tuned model
    Finetune(finetune::Finetune),
    /// Compare a run with runs that were tuned from it
    Compare(compare::Compare),
    /// Write a page that one can play with: a slider over layers or models, states that move, CD and exact answers; opens
    /// offline
    Explore(explore::Explore),
    /// Draw the figures and write report.html, from the tables
    Report {
        /// The run's folder
        run: PathBuf,
        /// Print the summary as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the states of texts at their last token, and the logits there
    States(states::States),
}

impl Command {
    /// Does what the command says.
    ///
    /// # Errors
    /// When the request is wrong, what it asks for fails, or it is interrupted.
    pub fn run(self) -> Result<(), CliError> {
        match self {
            Self::Check(check) => check.run(),
            Self::Prompts(prompts) => prompts.run(),
            Self::Measure(measure) => measure.run(),
            Self::OnRun(on_run) => measure::on_run(on_run),
            Self::Finetune(finetune) => finetune.run(),
            Self::Compare(compare) => compare.run(),
            Self::Explore(explore) => explore.run(),
            Self::Report { run, json } => {
                let run = LmRun::open(&run)?;
                let drawn = run.folder().lock().map_err(CliError::from).and_then(|_lock| run.report().map(drop));
                CliError::unless_of_writing(drawn)?;
                measure::say_summary(&run, json)
            }
            Self::States(states) => states.run(),
        }
    }
}

impl From<PretrainedError> for Failure {
    fn from(error: PretrainedError) -> Self {
        match error {
            PretrainedError::Interrupted => {
                Self::Interrupted("interrupted; nothing was written, and the same command starts again".to_owned())
            }
            PretrainedError::OutOfRange { .. } | PretrainedError::Config(_) | PretrainedError::File { .. } => {
                Self::Request(error.into())
            }
            PretrainedError::Io { .. }
            | PretrainedError::Record(_)
            | PretrainedError::Task(_)
            | PretrainedError::NonFinite { .. } => Self::Run(error.into()),
        }
    }
}
