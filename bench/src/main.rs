//! `echobench`: compares servers.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::reexec::dispatch().unwrap_or_else(bench::cli::main)
}
