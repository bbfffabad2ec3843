//! `loadgen`: puts a load on an echo server and says what it saw.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadgen::cli::main()
}
