//! Tells the program which commit it was built from.

use std::process::Command;

fn main() {
    let head = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = head.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    println!("cargo::rustc-env=EMERGENCE_COMMIT={}", commit.as_deref().map_or("unknown", str::trim));
    println!("cargo::rerun-if-changed=../../.git/HEAD");
}
