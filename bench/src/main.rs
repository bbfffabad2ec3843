//! `echobench`: compares servers.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::role::play().unwrap_or(ExitCode::SUCCESS)
}
