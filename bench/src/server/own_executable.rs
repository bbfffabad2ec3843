//! Commands that start this executable again as something else.
//!
//! So a server is never older than the harness, and no other program has to be built or
//! found first.

use std::env;
use std::process::Command;

/// Says what a process that the harness starts is. `.ci/run` finds leftover processes by it.
pub const VARIABLE: &str = "ECHOBENCH_REEXEC";

/// What this executable is in a process that the harness starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// `echo-server`, with its arguments.
    Server,
    /// The guard of a process group.
    Guard,
    /// Sets start conditions and becomes another program.
    Preparation,
}

impl Entry {
    const ALL: [Entry; 3] = [Entry::Server, Entry::Guard, Entry::Preparation];

    fn name(self) -> &'static str {
        match self {
            Entry::Server => "server",
            Entry::Guard => "guard",
            Entry::Preparation => "preparation",
        }
    }

    /// The entry of that name.
    pub fn named(name: &str) -> Option<Self> {
        Entry::ALL.into_iter().find(|entry| entry.name() == name)
    }

    /// A command that starts this executable with this entry. `/proc/self/exe` stays right if
    /// the file is replaced.
    ///
    /// # Panics
    ///
    /// In a process that was itself started with an entry: its `main` has not called
    /// `reexec::dispatch`, and would start itself forever.
    pub fn command(self) -> Command {
        assert!(
            env::var_os(VARIABLE).is_none(),
            "`main` must call `reexec::dispatch` first"
        );
        let mut command = Command::new("/proc/self/exe");
        command.env(VARIABLE, self.name());
        command
    }
}
