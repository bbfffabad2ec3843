//! `echo-server`: runs one of the models.

use std::process::ExitCode;

fn main() -> ExitCode {
    servers::cli::main()
}
