//! Notes which compiler and which commit a measurement was made with.

use std::env;
use std::process::Command;

// Not under ECHOBENCH_, which is for what a user sets: cargo hands these on to whatever
// it runs, and they would show in the command that a run records.
fn main() {
    let compiler = env::var("RUSTC")
        .ok()
        .and_then(|rustc| output(&rustc, &["--version"]));
    println!(
        "cargo::rustc-env=BUILT_BY={}",
        compiler.unwrap_or_else(|| "unknown".into())
    );
    println!("cargo::rustc-env=BUILT_FROM={}", commit().unwrap_or_default());
    for source in [
        "src",
        "benches",
        "../servers/src",
        "../loadgen/src",
        "../reports/src",
        "../Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={source}");
    }
    if let Some(log) = output("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// The commit, marked when files that git tracks differ from it; none without git.
fn commit() -> Option<String> {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changes = output("git", &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() {
        commit
    } else {
        format!("{commit}-dirty")
    })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
