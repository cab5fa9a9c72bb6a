//! Runs the real program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A command of the program, with its output captured.
pub(crate) fn emergence<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emergence"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that must succeed and returns its standard output.
pub(crate) fn succeed<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let output = emergence(args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The one run made under `root`.
pub(crate) fn only_run(root: &Path) -> PathBuf {
    let mut runs: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}
