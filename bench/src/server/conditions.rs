//! What a process finds when it starts: conditions that have to hold before its first
//! instruction, which a process in between sets up (see [`Role::Preparation`]).

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use crate::role::Role;

/// Carries what is to be prepared to the process that does.
const VARIABLE: &str = "ECHOBENCH_CONDITIONS";

/// Conditions that a server is started under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Descriptors from the first to the second, inclusive, are taken: what the process
    /// opens gets those below and above.
    pub taken_descriptors: Option<(i32, i32)>,
    /// It may have so many descriptors, and cannot raise that.
    pub descriptor_limit: Option<u64>,
}

/// What the process in between has to do: the conditions, and the environment that is the
/// program's alone.
#[derive(Serialize, Deserialize)]
struct Task {
    conditions: Conditions,
    environment: Vec<(String, Option<String>)>,
}

impl Conditions {
    /// Nothing special.
    pub const NONE: Conditions = Conditions {
        taken_descriptors: None,
        descriptor_limit: None,
    };

    /// A command that starts the same program under these conditions; it has the same
    /// process id as soon as it runs.
    pub(crate) fn impose(&self, command: Command) -> io::Result<Command> {
        if *self == Conditions::NONE {
            return Ok(command);
        }
        let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
        let task = Task {
            conditions: *self,
            environment: command
                .get_envs()
                .map(|(name, value)| (text(name), value.map(text)))
                .collect(),
        };
        let mut prepared = Role::Preparation.command();
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

/// Opens descriptors that outlive the start of another program.
fn take(first: i32, last: i32) -> io::Result<()> {
    // Copies of one that is there anyway, so that nothing has to be opened among them.
    let copied = io::stdin();
    let mut next = first;
    while next <= last {
        // The lowest that is free: some may be taken already, by whoever started the harness.
        next = fcntl(&copied, FcntlArg::F_DUPFD(next))? + 1;
    }
    Ok(())
}

/// The life of the process in between, which ends in becoming another program.
pub fn main() -> ExitCode {
    let error = become_program().unwrap_or_else(|error| error);
    eprintln!("cannot prepare a process: {error}");
    ExitCode::FAILURE
}

/// Returns only if that fails.
fn become_program() -> Result<io::Error, io::Error> {
    let task = env::var(VARIABLE).map_err(io::Error::other)?;
    let task: Task = serde_json::from_str(&task)?;
    task.conditions.set_up()?;
    let mut arguments = env::args_os().skip(1);
    let program: OsString = arguments.next().ok_or_else(|| io::Error::other("no program"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove(VARIABLE);
    Role::forget(&mut command);
    for (name, value) in task.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(command.exec())
}
