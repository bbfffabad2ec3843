//! What this executable does when the harness starts it again: it is a server, a guard, or
//! prepares a process for another program.

use std::env;
use std::process::ExitCode;

use crate::server::own_executable::{Entry, VARIABLE};
use crate::server::{conditions, guard};

/// Runs the entry that this process was started with; `None` if it is the harness.
///
/// `main` calls this first, before it reads arguments or starts threads: some servers must be
/// single-threaded when they start.
pub fn dispatch() -> Option<ExitCode> {
    let name = env::var_os(VARIABLE)?;
    Some(match name.to_str().and_then(Entry::named) {
        Some(Entry::Server) => servers::cli::main(),
        Some(Entry::Guard) => guard::main(),
        Some(Entry::Preparation) => conditions::main(),
        None => {
            record::complain!(
                "{VARIABLE}={} is unknown: only the harness sets this variable, so unset it",
                name.display()
            );
            ExitCode::FAILURE
        }
    })
}
