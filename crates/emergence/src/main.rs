//! The program `emergence`: every command, for the built-in tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    emergence::command_line(&data::TaskRegistry::builtin())
}
