//! Conditions that must hold before the first instruction of a server. A process in between
//! sets them and then becomes the server ([`Entry::Preparation`]).

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use super::handed_on::HandedOn;
use super::own_executable::Entry;

/// Passes the task to the process in between.
const VARIABLE: &str = "ECHOBENCH_CONDITIONS";

/// Conditions that a server starts under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Descriptors in this range, inclusive, are taken: the server gets those below and above.
    pub taken_descriptors: Option<(i32, i32)>,
    /// Limit on descriptors, which the server cannot raise.
    pub descriptor_limit: Option<u64>,
}

/// The task of the process in between.
#[derive(Serialize, Deserialize)]
struct Task {
    conditions: Conditions,
    command: HandedOn,
}

impl Conditions {
    /// No special conditions.
    pub const NONE: Conditions = Conditions {
        taken_descriptors: None,
        descriptor_limit: None,
    };

    /// A command that starts the same program under these conditions, with the process id of
    /// the process in between.
    pub(crate) fn impose(&self, command: Command) -> io::Result<Command> {
        if *self == Conditions::NONE {
            return Ok(command);
        }
        let task = Task {
            conditions: *self,
            command: HandedOn::new(&command),
        };
        let mut prepared = Entry::Preparation.command();
        prepared.env(VARIABLE, serde_json::to_string(&task)?);
        Ok(prepared)
    }

    fn set_up(&self) -> io::Result<()> {
        if let Some((first, last)) = self.taken_descriptors {
            take(first, last)?;
        }
        if let Some(most) = self.descriptor_limit {
            setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        }
        Ok(())
    }
}

/// Opens descriptors that stay open across `exec`.
fn take(first: i32, last: i32) -> io::Result<()> {
    // Duplicates of an open descriptor, so that no new file takes a number in the range.
    let copied = io::stdin();
    let mut next = first;
    while next <= last {
        // The lowest free number: the process that started the harness may have taken some.
        next = fcntl(&copied, FcntlArg::F_DUPFD(next))? + 1;
    }
    Ok(())
}

/// The entry point of the process in between.
pub fn main() -> ExitCode {
    let error = become_program().unwrap_or_else(|error| error);
    record::complain!("cannot prepare a process: {error}");
    ExitCode::FAILURE
}

/// Returns only on failure.
fn become_program() -> Result<io::Error, io::Error> {
    let task = env::var(VARIABLE).map_err(io::Error::other)?;
    let task: Task = serde_json::from_str(&task)?;
    task.conditions.set_up()?;
    // The only other thing that its environment has of the harness.
    Ok(task.command.command().env_remove(VARIABLE).exec())
}
