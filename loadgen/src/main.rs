//! `loadgen`: puts a load on an echo server and reports the result.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadgen::cli::main()
}
