//! Puts the compiler's version, the profile and the commit into the executable, for the records.

use std::env;
use std::process::Command;

// The names do not start with ECHOBENCH_: cargo sets them for every program that it runs, and
// a run records all ECHOBENCH_ variables as part of its command.
fn main() {
    let compiler = env::var("RUSTC")
        .ok()
        .and_then(|rustc| output(&rustc, &["--version"]));
    println!(
        "cargo::rustc-env=BUILT_BY={}",
        compiler.unwrap_or_else(|| "unknown".into())
    );
    let profile = env::var("PROFILE").unwrap_or_else(|_| "unknown".into());
    println!("cargo::rustc-env=BUILT_AS={profile}");
    println!("cargo::rustc-env=BUILT_FROM={}", commit().unwrap_or_default());
    for source in [
        "src",
        "benches",
        "../servers/src",
        "../loadgen/record/src",
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

/// The commit, marked `-dirty` if tracked files differ from it; `None` without git.
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
