//! The other things that a program of the harness can be: a server, a guard, or what
//! prepares a process for another program.
//!
//! The harness starts its own executable again with an environment variable that says
//! what to be. So the servers can never be older than the harness, and no other
//! program has to be built or found first.

use std::env;
use std::process::{Command, ExitCode};

use crate::server::{conditions, guard};

/// Set for a process that is not to be the harness.
const ROLE: &str = "ECHOBENCH_ROLE";

/// What a child of the harness is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `echo-server`, with its arguments.
    Server,
    /// The guard of a process group.
    Guard,
    /// Sets conditions up, and then becomes another program.
    Preparation,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Guard => "guard",
            Role::Preparation => "preparation",
        }
    }

    /// A command that starts this executable in the role.
    ///
    /// By the path that stays right when the file is replaced meanwhile.
    ///
    /// # Panics
    ///
    /// In a process that was started for a role and does not play it: its `main` has not
    /// called [`play`], and would start itself again without end.
    pub fn command(self) -> Command {
        assert!(
            env::var_os(ROLE).is_none(),
            "`main` has to call `role::play` first"
        );
        let mut command = Command::new("/proc/self/exe");
        command.env(ROLE, self.name());
        command
    }

    /// Lets what a command starts be no role of the harness, if it says nothing else.
    pub fn forget(command: &mut Command) {
        command.env_remove(ROLE);
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
    if role == Role::Preparation.name() {
        return Some(conditions::main());
    }
    eprintln!("{ROLE}={role} is not a role: this variable is set by the harness alone, so unset it");
    Some(ExitCode::FAILURE)
}
