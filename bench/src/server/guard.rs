//! A guard ends a process group when the harness is gone, however the harness ended.
//!
//! The guard leads the group; the server and all its descendants are members. The harness
//! holds the only writing end of a pipe to the guard. When that end closes, on a drop, an
//! exit, a panic or SIGKILL, the guard kills the group, itself included.
//! (PR_SET_PDEATHSIG misses grandchildren, and fires when a thread ends.)
//!
//! The harness writes the paths of cgroups into the pipe, one per line. They can be removed
//! only after the group has ended, so the guard removes them.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, getpid};

use super::own_executable::Entry;
use crate::proc::processes::group_members;

/// Time for killed processes to end and to leave their cgroup.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Interval of the checks for that.
const CHECK: Duration = Duration::from_millis(1);

/// A process group that ends when this value is dropped.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Starts a group that has no member but its guard.
    pub fn start() -> io::Result<Self> {
        let child = Entry::Guard
            .command()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Guard(child))
    }

    /// Makes the process that `command` starts a member of the group from its start.
    pub fn adopt(&self, command: &mut Command) {
        command.process_group(self.group().as_raw());
    }

    /// Removes an empty folder, if it exists, when the group has ended.
    pub fn remove_at_end(&self, folder: &Path) -> io::Result<()> {
        let line = [folder.as_os_str().as_bytes(), b"\n"].concat();
        let mut pipe = self.0.stdin.as_ref().ok_or(ErrorKind::BrokenPipe)?;
        pipe.write_all(&line)
    }

    /// The group, which is the process id of the guard.
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

/// Removes an empty folder, if it exists.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The entry point of the guard process.
pub fn main() -> ExitCode {
    let mut folders = Vec::new();
    // An error means the end of the harness too.
    let _ = io::stdin().lock().read_to_end(&mut folders);
    if getpgrp() != getpid() {
        record::complain!("a guard kills its whole process group, so it must lead that group");
        return ExitCode::FAILURE;
    }
    if !folders.is_empty() {
        // One by one, since this process must outlive them.
        wait_until(kill_others);
        for folder in folders
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            wait_until(|| remove(Path::new(OsStr::from_bytes(folder))).is_ok());
        }
    }
    let _ = killpg(getpgrp(), Signal::SIGKILL);
    ExitCode::SUCCESS
}

/// Kills all other members of the group; true if there were none. Repeated calls find processes
/// that started meanwhile.
fn kill_others() -> bool {
    let mut others = group_members(getpgrp()).unwrap_or_default();
    others.retain(|process| process.state != 'Z');
    for process in &others {
        let _ = kill(process.pid, Signal::SIGKILL);
    }
    others.is_empty()
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + GONE_WITHIN;
    while !condition() && Instant::now() < deadline {
        thread::sleep(CHECK);
    }
}
