//! A guard starts a server and ends everything that the server has started, however the harness
//! ends, also by SIGKILL.
//!
//! The guard is a process of its own. It is the parent of the server, leads its process group, and
//! is a subreaper (PR_SET_CHILD_SUBREAPER): whatever leaves the group by setsid(2) or loses its
//! parent, as the child of a daemon does, stays a descendant of the guard. Once the guard has no
//! child, nothing is left. (PR_SET_PDEATHSIG misses grandchildren, and fires when a thread ends.)
//!
//! The harness and the guard have a socket between them. The harness writes the command as a line
//! of JSON, then the paths of cgroups, one per line: they can be removed only after their processes
//! have ended, so the guard removes them. When the harness closes its end, on a drop, an exit, a
//! panic or SIGKILL, the guard kills all. It writes [numbers](Guard::hear) to the harness.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::{Pid, dup2_stdout, getpgrp, getpid};
use rustix::io::retry_on_intr;
use rustix::process::{WaitOptions, wait};

use super::handed_on::HandedOn;
use super::own_executable::Entry;
use crate::proc::processes::guarded_by;

/// Time for killed processes to end and to leave their cgroup.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Interval of the checks for that, and of those whether a process has ended.
const CHECK: Duration = Duration::from_millis(1);

/// A process and everything that it starts: all of it ends when this value is dropped.
#[derive(Debug)]
pub struct Guard {
    guard: Child,
    socket: UnixStream,
    pid: Pid,
    /// Exit statuses, as the guard reported them.
    heard: Mutex<Vec<ExitStatus>>,
}

impl Guard {
    /// Starts a command, with these standard streams and no input, and its guard.
    pub fn start(command: &Command, output: impl Into<Stdio>, errors: impl Into<Stdio>) -> io::Result<Self> {
        let (socket, other_end) = UnixStream::pair()?;
        let guard = Entry::Guard
            .command()
            .process_group(0)
            .stdin(OwnedFd::from(other_end))
            .stdout(output)
            .stderr(errors)
            .spawn()?;
        // From here on an early return ends the guard.
        let mut started = Guard {
            pid: Pid::from_raw(guard.id() as i32),
            guard,
            socket,
            heard: Mutex::default(),
        };
        let line = serde_json::to_string(&HandedOn::new(command))? + "\n";
        started.socket.write_all(line.as_bytes())?;
        let answer = started.hear()?.ok_or(ErrorKind::UnexpectedEof)?;
        if answer <= 0 {
            return Err(io::Error::from_raw_os_error(-answer));
        }
        started.pid = Pid::from_raw(answer);
        started.socket.set_nonblocking(true)?;
        Ok(started)
    }

    /// The next number of the guard; `None` if there is none yet. First comes the id of the process,
    /// or an error number below zero; then the wait status of the process when it has ended, and that
    /// of the last of its descendants, or its own, when none is left.
    fn hear(&self) -> io::Result<Option<i32>> {
        let mut number = [0; size_of::<i32>()];
        // A number is written at once, and a local socket does not split it.
        match (&self.socket).read(&mut number) {
            Ok(length) if length == number.len() => Ok(Some(i32::from_ne_bytes(number))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
            _ => Err(io::Error::other(
                "the guard of a process has ended: it must not be killed",
            )),
        }
    }

    fn heard(&self, number: usize) -> io::Result<Option<ExitStatus>> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        while heard.len() <= number {
            match self.hear()? {
                Some(status) => heard.push(ExitStatus::from_raw(status)),
                None => return Ok(None),
            }
        }
        Ok(Some(heard[number]))
    }

    /// The exit status of the process, if it has ended.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        self.heard(0)
    }

    /// Once the process and all that it has started have ended: the exit status of the last.
    pub fn all_ended(&self) -> io::Result<Option<ExitStatus>> {
        self.heard(1)
    }

    /// Waits at most `time` for the process to end.
    pub fn wait(&self, time: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + time;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => thread::sleep(CHECK),
                ended => return Ok(ended),
            }
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends the process a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.ended()? {
            // Its id may be that of another process by now.
            Some(_) => Ok(()),
            None => match kill(self.pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The process id of the guard, and of the group that it leads: the ancestor of all.
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.guard.id() as i32)
    }

    /// The standard output of the process, once, if it is a pipe.
    pub fn output(&mut self) -> Option<ChildStdout> {
        self.guard.stdout.take()
    }

    /// Removes an empty folder, if it exists, when all have ended.
    pub fn remove_at_end(&self, folder: &Path) -> io::Result<()> {
        let line = [folder.as_os_str().as_bytes(), b"\n"].concat();
        (&self.socket).write_all(&line)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        // A guard that has not succeeded kills itself with its group.
        if self.guard.wait().is_ok_and(|status| status.signal().is_some()) {
            record::complain!(
                "not all processes that a server has started could be ended within {GONE_WITHIN:?}: look for them \
                 with ps(1), as they may disturb what is measured next"
            );
        }
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
    guard().unwrap_or_else(|error| {
        kill_all();
        record::complain!("a guard failed: {error}");
        ExitCode::FAILURE
    })
}

fn guard() -> io::Result<ExitCode> {
    if getpgrp() != getpid() {
        return Err(io::Error::other(
            "it kills its whole process group, so it must lead that group",
        ));
    }
    set_child_subreaper(true)?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut orders = BufReader::new(socket.try_clone()?);
    let mut command = String::new();
    if orders.read_line(&mut command)? == 0 {
        return Ok(ExitCode::SUCCESS); // The harness has ended.
    }
    let mut command = serde_json::from_str::<HandedOn>(&command)?.command();
    let first = match command.stdin(Stdio::null()).spawn() {
        Ok(child) => Pid::from_raw(child.id() as i32),
        Err(error) => {
            tell(&socket, -error.raw_os_error().unwrap_or(Errno::EIO as i32));
            return Ok(ExitCode::SUCCESS);
        }
    };
    // Whoever reads the output of the server must see its end.
    dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    // A server may send signals to its group, and the kernel does if the group has lost its harness
    // and is stopped. After the start of the server, which would inherit this.
    SigSet::all().thread_block()?;
    let reaper = thread::Builder::new().spawn(move || reap(first, &socket))?;
    let mut folders = Vec::new();
    // An error means the end of the harness too.
    let _ = orders.read_to_end(&mut folders);
    let is_gone = wait_until(|| {
        reaper.is_finished() || {
            kill_all();
            false
        }
    });
    for folder in folders
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        wait_until(|| remove(Path::new(OsStr::from_bytes(folder))).is_ok());
    }
    if is_gone {
        return Ok(ExitCode::SUCCESS);
    }
    let left = guarded_by(getpid())?
        .into_iter()
        .map(|process| process.pid.to_string());
    record::complain!(
        "still there after SIGKILL: {}",
        left.collect::<Vec<_>>().join(" ")
    );
    // Without /proc there is at least the group, this process included.
    let _ = killpg(getpgrp(), Signal::SIGKILL);
    Ok(ExitCode::FAILURE)
}

/// Waits for the process and for all that are orphaned, until none is left.
fn reap(first: Pid, socket: &UnixStream) {
    tell(socket, first.as_raw());
    let mut last = 0;
    while let Ok(ended) = retry_on_intr(|| wait(WaitOptions::empty())) {
        let Some((pid, status)) = ended else { continue };
        last = status.as_raw();
        if pid.as_raw_nonzero().get() == first.as_raw() {
            tell(socket, last);
        }
    }
    tell(socket, last);
}

/// Writes a number to the harness, unless that has ended.
fn tell(mut socket: &UnixStream, number: i32) {
    let _ = socket.write_all(&number.to_ne_bytes());
}

/// Kills all that are left. Repeated calls find processes that started meanwhile.
fn kill_all() {
    for process in guarded_by(getpid()).unwrap_or_default() {
        let _ = kill(process.pid, Signal::SIGKILL);
    }
}

/// Returns whether the condition came true in time.
fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + GONE_WITHIN;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(CHECK);
    }
    true
}
