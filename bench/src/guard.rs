//! A guard: ends a process group when the harness is gone, however it went.
//!
//! The guard leads the group, the server and all that it starts are members, and the
//! harness holds the one writing end of a pipe to the guard. When that end closes, by a
//! drop, an exit, a panic or SIGKILL, the guard kills the group, itself included.
//! (PR_SET_PDEATHSIG would miss grandchildren, and fires when a thread ends.)

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp, getpid};

use crate::role::Role;

/// A process group that ends with this value.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Starts a group with nobody in it but its guard.
    pub fn start() -> io::Result<Self> {
        let child = Role::Guard
            .command()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Guard(child))
    }

    /// Makes what `command` starts a member of the group from its first moment on.
    pub fn adopt(&self, command: &mut Command) {
        command.process_group(self.group().as_raw());
    }

    /// The group, which is the guard's own process id.
    pub fn group(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The guard's own life, in its process.
pub fn main() -> ExitCode {
    // Whatever is read, only the end of it matters.
    let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
    if getpgrp() != getpid() {
        eprintln!("a guard kills its whole process group, so it runs only as the leader of one");
        return ExitCode::FAILURE;
    }
    let _ = killpg(getpgrp(), Signal::SIGKILL);
    ExitCode::SUCCESS
}
