//! Runs the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program: the one that was built with these tests, or, where they run on another machine, the one in `EMERGENCE`.
fn program() -> PathBuf {
    std::env::var_os("EMERGENCE").map_or_else(|| env!("CARGO_BIN_EXE_emergence").into(), PathBuf::from)
}

/// A command of the program, with its output captured.
pub(crate) fn emergence<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(program());
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command of the program under a limit that the shell sets, such as `ulimit -f 1`.
pub(crate) fn emergence_within<S: AsRef<std::ffi::OsStr>>(limit: &str, args: &[S]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(program()).args(args);
    command
}

/// Runs a command that must succeed and returns its standard output.
pub(crate) fn succeed<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let output = emergence(args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must succeed and returns what it said beside that.
pub(crate) fn notes_of<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let output = emergence(args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

/// Sends a signal to a program that was started.
pub(crate) fn kill(signal: &str, child: &Child) {
    Command::new("kill").args([signal, &child.id().to_string()]).output().unwrap();
}

/// The signals that ask to stop, but for those that these tests were started to ignore, as a shell lets what it starts in the
/// background ignore SIGINT: the program ignores them then as well.
pub(crate) fn asking_signals() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    let ignored = u64::from_str_radix(mask.trim(), 16).unwrap();
    let heard = |(_, number): &(&str, u32)| ignored >> (number - 1) & 1 == 0;
    let all = [("-HUP", 1), ("-INT", 2), ("-USR1", 10), ("-USR2", 12), ("-TERM", 15)];
    all.into_iter().filter(heard).map(|(name, _)| name).collect()
}

/// Waits until a run under `root` has written a row of its training.
pub(crate) fn wait_for_rows(root: &Path) {
    let started = Instant::now();
    let has_rows = |run: std::fs::DirEntry| {
        std::fs::read_to_string(run.path().join("training.csv")).is_ok_and(|table| table.lines().count() > 1)
    };
    while !std::fs::read_dir(root).is_ok_and(|mut runs| runs.any(|run| has_rows(run.unwrap()))) {
        assert!(started.elapsed() < Duration::from_secs(60), "no run has begun");
        std::thread::sleep(Duration::from_millis(10));
    }
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

/// The files of a folder, by their paths in it.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Every file under `folder`.
pub(crate) fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(inside, bytes)| (name.join(inside), bytes)));
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Makes `folder` with these files.
pub(crate) fn write_files(files: &Files, folder: &Path) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// A folder of its own with these files, which goes when it is dropped.
pub(crate) fn copy_of(files: &Files) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    write_files(files, root.path());
    root
}

/// A finished run of the smoke preset, and the folder that it lies in, which goes when it is dropped. It is trained once
/// and kept in memory, since a folder that all tests share would outlive them.
pub(crate) fn smoke_run() -> (TempDir, PathBuf) {
    static SMOKE: LazyLock<Files> = LazyLock::new(|| {
        let root = tempfile::tempdir().unwrap();
        succeed(&["train", "smoke", "--quiet", "--out", root.path().to_str().unwrap()]);
        files(root.path())
    });
    let root = copy_of(&SMOKE);
    let run = only_run(root.path());
    (root, run)
}

/// Runs a command that must fail with `code` and a message that contains every one of `words`.
pub(crate) fn check(args: &[&str], code: i32, words: &[&str]) {
    let output = emergence(args).output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert!(!message.contains("panicked"), "{args:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{args:?}: no {word:?} in: {message}");
    }
}
