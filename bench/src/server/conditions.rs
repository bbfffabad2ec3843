//! Conditions that must hold before the first instruction of a server. A process in between
//! sets them and then becomes the server ([`Entry::Preparation`]).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use super::own_executable::{self, Entry};

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

/// The task of the process in between: the conditions, and the environment that only the
/// program gets.
#[derive(Serialize, Deserialize)]
struct Task {
    conditions: Conditions,
    environment: Vec<(String, Option<String>)>,
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
        let text = |value: &OsStr| value.to_string_lossy().into_owned();
        let task = Task {
            conditions: *self,
            environment: command
                .get_envs()
                .map(|(name, value)| (text(name), value.map(text)))
                .collect(),
        };
        let mut prepared = Entry::Preparation.command();
        prepared
            .env(VARIABLE, serde_json::to_string(&task)?)
            .arg(command.get_program())
            .args(command.get_args());
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
    let mut arguments = env::args_os().skip(1);
    let program: OsString = arguments.next().ok_or_else(|| io::Error::other("no program"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    // The program is an entry of this executable only if its own environment says so.
    command.env_remove(VARIABLE).env_remove(own_executable::VARIABLE);
    for (name, value) in task.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(command.exec())
}
