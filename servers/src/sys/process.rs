//! Processes: `fork(2)`, `waitpid(2)`, `prctl(2)`, `_exit(2)`.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use std::{io, iter};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{getpid, getppid};

use super::errno::check;

pub use nix::unistd::Pid;

/// Which of the two processes `fork` returned in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The child.
    Child,
    /// The parent.
    Parent(Pid),
}

/// Forks a child that dies with this process.
///
/// This process must have a single thread: a lock that another thread holds would stay
/// locked in the child for ever.
pub fn fork() -> io::Result<Forked> {
    debug_assert!(
        !threads().is_ok_and(|count| count > 1),
        "checked by the model before it starts"
    );
    let parent = getpid();
    // SAFETY: with a single thread, the child may call anything that the parent may.
    match check(unsafe { libc::fork() })? {
        0 => {
            // Otherwise the children of a killed parent would serve for ever.
            die_with(parent);
            Ok(Forked::Child)
        }
        pid => Ok(Forked::Parent(Pid::from_raw(pid))),
    }
}

/// Requests SIGKILL at the death of the parent; exits now if the parent is already dead.
fn die_with(parent: Pid) {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    let _ = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if getppid() != parent {
        exit_now(0);
    }
}

/// Returns an error if this process has several threads, so that it must not fork.
pub fn require_one_thread() -> io::Result<()> {
    let threads = threads()?;
    if threads == 1 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "this process has {threads} threads; a model that forks needs a process with one"
    )))
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Exits without the parent's cleanup: runs no destructors and flushes no buffers twice.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit is async-signal-safe, ends the process and never returns.
    unsafe { libc::_exit(status) }
}

/// Reaps all ended children without waiting; yields the status of each.
///
/// Async-signal-safe, for SIGCHLD handlers. Signals merge, so one SIGCHLD may stand for many
/// children.
pub fn reap() -> impl Iterator<Item = (Pid, ExitStatus)> {
    iter::from_fn(|| {
        let mut status = 0;
        // SAFETY: `status` lives across the call. With WNOHANG there is no EINTR.
        match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
            0 | -1 => None,
            pid => Some((Pid::from_raw(pid), ExitStatus::from_raw(status))),
        }
    })
}

/// Whether this process has children, running or not yet reaped.
pub fn has_children() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, look) != Err(Errno::ECHILD)
}

/// Waits up to `timeout` until a child ends; SIGCHLD must be blocked.
pub fn wait_for_child(timeout: Duration) {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    let time = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: set and time live across the call; the second pointer may be null.
    unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &time) };
}

/// Kills and reaps all children.
pub fn kill_children() -> io::Result<()> {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    for pid in std::fs::read_to_string(path)?
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
    {
        // Fails if the child has ended meanwhile.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    while waitpid(Pid::from_raw(-1), None) != Err(Errno::ECHILD) {}
    Ok(())
}

/// Raises the soft limit of open descriptors to the hard limit, if permitted.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
