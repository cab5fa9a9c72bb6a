//! The program `emergence`: every command, for the built-in tasks.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Gives the memory of the last step back to the next one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    model::keep_freed_memory();
    emergence::command_line(&data::TaskRegistry::builtin())
}
