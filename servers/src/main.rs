//! `echo-server`: runs one model.

use std::process::ExitCode;

fn main() -> ExitCode {
    servers::cli::main()
}
