//! System calls that fail without being executed: `strace -e inject=...`.
//!
//! strace attaches to all threads of the server and to those that they start, stops each thread
//! at the given calls, and writes a line for each call.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::conformance::kit::log::Log;
use crate::conformance::kit::server::ServerUnderTest;
use crate::conformance::kit::setup::Unsupported;
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::proc;
use crate::proc::processes::{guarded_by, own_tasks};
use crate::server::guard::Guard;

/// The first three calls of each thread, as an expression of strace.
pub const FIRST_THREE: &str = "1..3";
/// Every call.
pub const EVERY: &str = "1+";

/// Makes calls of a server fail until it is dropped.
#[derive(Debug)]
pub struct Injection {
    server: Pid,
    /// With a guard of its own, since all that the server's guard has counts as the server.
    strace: Guard,
    trace: Log,
    stderr: Log,
}

impl Injection {
    /// Makes `calls` (`accept,accept4`) fail with `error`; `when` selects the calls of each
    /// thread. Returns when strace has attached to all threads of the server.
    pub fn start(server: &ServerUnderTest, calls: &str, error: &str, when: &str) -> anyhow::Result<Self> {
        let processes = server.processes()?;
        let pids: Vec<_> = processes.iter().map(|process| process.pid.to_string()).collect();
        let (trace, stderr) = (Log::new()?, Log::new()?);
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-e", "signal=SIGSTOP", "-p", &pids.join(",")])
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}:when={when}")])
            .arg("-o")
            .arg(trace.path_for_others());
        let strace =
            Guard::start(&command, Stdio::null(), stderr.file()?).map_err(|error| match error.kind() {
                ErrorKind::NotFound => Unsupported("strace is not installed".into()).into(),
                _ => anyhow::Error::from(error).context("cannot start strace"),
            })?;
        // From here on an early return ends strace.
        let mut injection = Injection {
            server: server.guard(),
            strace,
            trace,
            stderr,
        };
        injection.await_attached()?;
        Ok(injection)
    }

    /// Failed calls so far, by thread.
    pub fn failed(&self) -> HashMap<Pid, usize> {
        count(&self.trace.text(), "(INJECTED)")
    }

    fn await_attached(&mut self) -> anyhow::Result<()> {
        let tracer = self.strace.pid().to_string();
        let mut ended = None;
        let is_attached = |task: &PathBuf| tracer_of(task).is_none_or(|other| other == tracer);
        let attached = wait_until(STALL, || {
            ended = self.strace.ended().ok().flatten();
            ended.is_some() || tasks(self.server).iter().all(is_attached)
        });
        // strace ends without an error with the last thread of the server, which the case reports.
        let nothing_is_left = ended.is_some_and(|status| status.success());
        if attached && (ended.is_none() || nothing_is_left) {
            return Ok(());
        }
        let stderr = self.stderr.text();
        if stderr.contains("Operation not permitted") {
            bail!(Unsupported(
                "strace may not attach to the server: allow it (CAP_SYS_PTRACE, or `sysctl kernel.yama.ptrace_scope=0`)"
                    .into()
            ));
        }
        bail!("strace did not attach to the server within {STALL:?} (exit {ended:?}): {stderr}")
    }

    /// Whether each thread is stopped outside of a system call.
    fn is_stopped(&self) -> bool {
        let stopped = count(&self.trace.text(), "--- stopped by SIGSTOP");
        tasks(self.server)
            .iter()
            .all(|task| thread_of(task).is_none_or(|thread| stopped.contains_key(&thread)))
    }
}

impl Drop for Injection {
    /// Stops the server first: detaching strace from a thread inside a system call makes that
    /// call fail with ENOSYS.
    fn drop(&mut self) {
        let all = guarded_by(self.server).unwrap_or_default();
        let signal_all = |signal| {
            for process in &all {
                // A process that has just ended needs no signal.
                let _ = kill(process.pid, signal);
            }
        };
        signal_all(Signal::SIGSTOP);
        let _ = wait_until(STALL, || {
            let has_ended = self.strace.ended().is_ok_and(|status| status.is_some());
            has_ended || self.is_stopped()
        });
        let _ = self.strace.signal(Signal::SIGTERM);
        let _ = self.strace.wait(STALL);
        signal_all(Signal::SIGCONT);
    }
}

/// Counts the lines that contain `what`, by thread.
fn count(trace: &str, what: &str) -> HashMap<Pid, usize> {
    let mut counts = HashMap::new();
    for line in trace.lines().filter(|line| line.contains(what)) {
        // The last line may be incomplete and have no number yet.
        let number = line.split_whitespace().next().and_then(|pid| pid.parse().ok());
        if let Some(pid) = number {
            *counts.entry(Pid::from_raw(pid)).or_default() += 1;
        }
    }
    counts
}

/// The `/proc` folders of all threads of a server, without zombies, which cannot be traced.
fn tasks(server: Pid) -> Vec<PathBuf> {
    let mut processes = guarded_by(server).unwrap_or_default();
    processes.retain(|process| process.state != 'Z');
    processes
        .iter()
        .flat_map(|process| own_tasks(process.pid))
        .collect()
}

fn thread_of(task: &Path) -> Option<Pid> {
    task.file_name()?.to_str()?.parse().ok().map(Pid::from_raw)
}

/// The tracer of a thread, `0` if there is none; `None` if the thread has ended.
fn tracer_of(task: &Path) -> Option<String> {
    let status = proc::read(task.join("status")).ok()?;
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
