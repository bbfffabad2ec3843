//! System calls of a server that fail without being made: `strace -e inject=...`.
//!
//! It attaches to all that the server has and to what that starts, stops each thread at the
//! calls it is told of, and writes a line for each.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::conformance::client::{STALL, wait_until};
use crate::conformance::log::Log;
use crate::conformance::{NotHere, Running};
use crate::proc::processes::{group_members, own_tasks};
use crate::server::guard::Guard;

/// Which calls of each thread fail, as strace counts them.
pub const FIRST_THREE: &str = "1..3";
/// All of them.
pub const EVERY: &str = "1+";

/// Calls of a server that fail while this is there.
#[derive(Debug)]
pub struct Injection {
    server: Pid,
    strace: Child,
    trace: Log,
    said: Log,
    /// Of a group of its own: what is in the server's counts as the server's. Last, so that
    /// it ends what has not ended by itself.
    _guard: Guard,
}

impl Injection {
    /// Lets `calls` (`accept,accept4`) fail with `error`, and of each thread's those that
    /// `when` names. Returns once all threads of the server are attached to.
    pub fn start(running: &Running, calls: &str, error: &str, when: &str) -> anyhow::Result<Self> {
        let processes = running.processes()?;
        let pids: Vec<_> = processes.iter().map(|process| process.pid.to_string()).collect();
        let (trace, said) = (Log::new()?, Log::new()?);
        let guard = Guard::start()?;
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-e", "signal=SIGSTOP", "-p", &pids.join(",")])
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}:when={when}")])
            .arg("-o")
            .arg(trace.path_for_others())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.file()?);
        guard.adopt(&mut command);
        let strace = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => NotHere("there is no strace: install it".into()).into(),
            _ => anyhow::Error::from(error).context("cannot start strace"),
        })?;
        // From here on an early return ends it.
        let mut injection = Injection {
            server: running.group(),
            strace,
            trace,
            said,
            _guard: guard,
        };
        injection.await_attached()?;
        Ok(injection)
    }

    /// How many calls of each thread have failed so far.
    pub fn failed(&self) -> HashMap<Pid, usize> {
        count(&self.trace.text(), "(INJECTED)")
    }

    fn await_attached(&mut self) -> anyhow::Result<()> {
        let tracer = self.strace.id().to_string();
        let mut ended = None;
        let is_attached = |task: &PathBuf| tracer_of(task).is_none_or(|other| other == tracer);
        let attached = wait_until(STALL, || {
            ended = self.strace.try_wait().ok().flatten();
            ended.is_some() || tasks(self.server).iter().all(is_attached)
        });
        // It ends by itself, without an error, with the last thread of the server: that is the case's.
        let nothing_is_left = ended.is_some_and(|status| status.success());
        if attached && (ended.is_none() || nothing_is_left) {
            return Ok(());
        }
        let said = self.said.text();
        if said.contains("Operation not permitted") {
            bail!(NotHere(
                "strace may not attach to the server: allow it to (CAP_SYS_PTRACE, or `sysctl kernel.yama.ptrace_scope=0`)"
                    .into()
            ));
        }
        bail!("strace had not attached to the server ({STALL:?} at most, exit {ended:?}): {said}")
    }

    /// Whether each thread stands still outside of a system call.
    fn stands(&self) -> bool {
        let stopped = count(&self.trace.text(), "--- stopped by SIGSTOP");
        tasks(self.server)
            .iter()
            .all(|task| thread_of(task).is_none_or(|thread| stopped.contains_key(&thread)))
    }
}

impl Drop for Injection {
    /// A call that strace has stopped in and left would fail with ENOSYS, so the server is
    /// stopped first.
    fn drop(&mut self) {
        let all = group_members(self.server).unwrap_or_default();
        let signal_all = |signal| {
            for process in &all {
                // One that has ended meanwhile needs no signal.
                let _ = kill(process.pid, signal);
            }
        };
        signal_all(Signal::SIGSTOP);
        let _ = wait_until(STALL, || {
            let has_ended = self.strace.try_wait().is_ok_and(|status| status.is_some());
            has_ended || self.stands()
        });
        let _ = kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGTERM);
        let _ = self.strace.wait();
        signal_all(Signal::SIGCONT);
    }
}

/// How many lines of each thread contain something.
fn count(trace: &str, what: &str) -> HashMap<Pid, usize> {
    let mut counts = HashMap::new();
    for line in trace.lines().filter(|line| line.contains(what)) {
        // A line that is still being written has no end, and may have no number yet.
        let number = line.split_whitespace().next().and_then(|pid| pid.parse().ok());
        if let Some(pid) = number {
            *counts.entry(Pid::from_raw(pid)).or_default() += 1;
        }
    }
    counts
}

/// The folders of all threads of a server, zombies aside, which nobody attaches to.
fn tasks(server: Pid) -> Vec<PathBuf> {
    let mut processes = group_members(server).unwrap_or_default();
    processes.retain(|process| process.state != 'Z');
    processes
        .iter()
        .flat_map(|process| own_tasks(process.pid))
        .collect()
}

fn thread_of(task: &Path) -> Option<Pid> {
    task.file_name()?.to_str()?.parse().ok().map(Pid::from_raw)
}

/// Who traces a thread, `0` for nobody; `None` once it is gone.
fn tracer_of(task: &Path) -> Option<String> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    Some(tracer.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_thread() {
        let trace = "7 accept4(3, NULL) = -1 EMFILE (Too many open files) (INJECTED)\n\
                     8 accept4(3,  <unfinished ...>\n\
                     7 accept4(3, NULL) = -1 EMFILE (Too many open files) (INJECTED)\n\
                     8 <... accept4 resumed>) = -1 EMFILE (Too many open files) (INJECTED)\n\
                     8 accept4(3, NULL) = 4\n";
        let counts = count(trace, "(INJECTED)");
        assert_eq!(
            counts,
            HashMap::from([(Pid::from_raw(7), 2), (Pid::from_raw(8), 1)])
        );
    }
}
