//! The program `trainer`, for the built-in tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    trainer::command_line(&data::TaskRegistry::builtin())
}
