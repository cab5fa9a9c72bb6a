//! All commands in one program.

use std::process::ExitCode;

use analysis::{Allowed, CliError};
use clap::{CommandFactory, Parser, Subcommand};
use data::TaskRegistry;
use server::Serve;

use crate::program::Program;

/// What a newcomer types first.
const EXAMPLES: &str = "\
Examples:
  emergence train                          the quickstart, and its report
  emergence train paper --set seed=1       a preset with a change
  emergence sweep experiments/sweeps/main.toml --jobs 2
  emergence positions RUN                  a measurement of a run that is there
  emergence lm measure bitwise --model FOLDER
`emergence COMMAND --help` says what a command takes.";

/// Train small transformers on in-context-learning tasks, and see what they come to know.
#[derive(Debug, Parser)]
#[command(name = "emergence", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    allowed: Allowed,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Train(trainer::Command),
    #[command(flatten)]
    Analyse(analysis::Command),
    /// Measure pretrained language models
    #[command(subcommand)]
    Lm(pretrained::Command),
    /// Show the runs of a folder in a browser, live while they train
    Serve(Serve),
    #[command(flatten)]
    Program(Program),
}

/// Every command of `trainer`, `analysis` and `pretrained` in one program, for the tasks in `registry`.
pub fn command_line(registry: &TaskRegistry) -> ExitCode {
    let Cli { command, allowed } = terminal::parse(std::env::args_os());
    let registry = &allowed.of(registry);
    let run = || match command {
        Command::Train(command) => command.run(registry),
        Command::Analyse(command) => command.run(registry),
        Command::Lm(command) => command.run(),
        Command::Serve(command) => command.run(registry),
        Command::Program(command) => command.run(Cli::command()),
    };
    terminal::conclude(terminal::listen(record::leave).map_err(CliError::from).and_then(|()| run()))
}
