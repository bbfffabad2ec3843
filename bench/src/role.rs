//! The other things that a program of the harness can be: a server, or a guard.
//!
//! The harness starts its own executable again with an environment variable that says
//! what to be. So the servers can never be older than the harness, and no other
//! program has to be built or found first.

use std::env;
use std::process::{Command, ExitCode};

use crate::guard;

/// Set for a process that is not to be the harness.
const ROLE: &str = "ECHOBENCH_ROLE";

/// What a child of the harness is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `echo-server`, with its arguments.
    Server,
    /// The guard of a process group.
    Guard,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Guard => "guard",
        }
    }

    /// A command that starts this executable in the role.
    ///
    /// By the path that stays right when the file is replaced meanwhile.
    pub fn command(self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.env(ROLE, self.name());
        command
    }
}

/// Plays the role that this process was started for; `None` when it is the harness.
///
/// The first thing in `main`, before arguments are looked at and threads are started:
/// some servers must be alone in their process.
pub fn play() -> Option<ExitCode> {
    let role = env::var(ROLE).ok()?;
    if role == Role::Server.name() {
        return Some(servers::cli::main());
    }
    if role == Role::Guard.name() {
        return Some(guard::main());
    }
    eprintln!("{ROLE}={role} is not a role: this variable is set by the harness alone, so unset it");
    Some(ExitCode::FAILURE)
}
