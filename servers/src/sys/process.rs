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

use super::check;

pub use nix::unistd::Pid;

/// Which of the two processes `fork` returned in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The new one.
    Child,
    /// The old one.
    Parent(Pid),
}

/// Makes a child that is a copy of this process and dies with it.
///
/// Refused unless this process has one thread: a lock that another thread held would
/// stay locked in the child for ever.
pub fn fork() -> io::Result<Forked> {
    debug_assert!(
        !threads().is_ok_and(|count| count > 1),
        "checked by the model before it starts"
    );
    let parent = getpid();
    // SAFETY: with a single thread the child may call anything that its parent may.
    match check(unsafe { libc::fork() })? {
        0 => {
            // Without this the children of a parent that was killed serve on for ever.
            die_with(parent);
            Ok(Forked::Child)
        }
        pid => Ok(Forked::Parent(Pid::from_raw(pid))),
    }
}

/// Asks for SIGKILL when the parent dies, and dies now if it already has.
fn die_with(parent: Pid) {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    let _ = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if getppid() != parent {
        exit_now(0);
    }
}

/// Says why a model that forks must not start: this process has more than one thread.
pub fn require_one_thread() -> io::Result<()> {
    let threads = threads()?;
    if threads == 1 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "this process has {threads} threads; a model that forks needs to be alone in it"
    )))
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Ends this process without running anything that is meant for its parent: no
/// destructors, no buffers flushed twice.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit is async-signal-safe, ends the process and never returns.
    unsafe { libc::_exit(status) }
}

/// Collects every child that has ended, without waiting, and says how each did.
///
/// Async-signal-safe: signals merge, so one SIGCHLD may stand for many children.
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

/// Whether there is a child that nobody has collected.
pub fn has_children() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, look) != Err(Errno::ECHILD)
}

/// Waits until a child ends, at most for `timeout`; SIGCHLD must be blocked.
pub fn wait_for_child(timeout: Duration) {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    let time = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: both pointers are to values that live across the call; the third may be null.
    unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &time) };
}

/// Kills and collects all children that are left.
pub fn kill_children() -> io::Result<()> {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    for pid in std::fs::read_to_string(path)?
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
    {
        // One that has ended meanwhile is not an error.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    while waitpid(Pid::from_raw(-1), None) != Err(Errno::ECHILD) {}
    Ok(())
}

/// Raises the soft limit of open descriptors to the hard one, as far as that is allowed.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
