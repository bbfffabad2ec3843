//! `echobench`: compares servers.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::role::play().unwrap_or_else(bench::cli::main)
}
