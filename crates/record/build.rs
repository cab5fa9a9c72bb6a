//! Tells the program which commit it was built from.
//!
//! A commit touches neither `HEAD` nor what it names once refs are packed, but always the log beside `HEAD`, which in a
//! worktree lies in a folder of its own. Outside a repository there is no commit and nothing to watch.

use std::path::Path;
use std::process::Command;

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    println!("cargo::rustc-env=EMERGENCE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // Without a line of its own, every change of a file of this crate would run this again.
    println!("cargo::rerun-if-changed=build.rs");
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        // A file that is not there would make every build run this again.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
