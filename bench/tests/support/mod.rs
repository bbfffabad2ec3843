//! What several tests of `echobench` share.

use std::process::{Command, Stdio};

/// `echobench` with these arguments, whose output is captured.
pub fn echobench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echobench"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
