//! The program `analysis`, for the built-in tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    analysis::command_line(&data::TaskRegistry::builtin())
}
