//! The processes of a server under test: signals, workers, memory.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use anyhow::{anyhow, bail, ensure};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ServerUnderTest;
use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::Kind;
use crate::conformance::kit::resources;
use crate::conformance::kit::setup::Unsupported;
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::participant::Participant;
use crate::proc::descriptors;
use crate::proc::processes::{Process, guarded_by, is_stopped, process};
use crate::proc::tcp::{self, Socket};
use crate::proc::usage;

impl ServerUnderTest {
    /// Id of its main process.
    pub fn pid(&self) -> Pid {
        self.server.pid()
    }

    /// Its guard, the ancestor of everything that belongs to it.
    pub fn guard(&self) -> Pid {
        self.server.guard()
    }

    /// Its processes, without zombies.
    pub fn processes(&self) -> io::Result<Vec<Process>> {
        let mut processes = guarded_by(self.guard())?;
        processes.retain(|process| process.state != 'Z');
        Ok(processes)
    }

    /// Its processes except the main one.
    pub fn workers(&self) -> io::Result<Vec<Pid>> {
        let all = self.processes()?;
        let pids = all.iter().map(|process| process.pid);
        Ok(pids.filter(|&pid| pid != self.pid()).collect())
    }

    /// The process that serves a client, which has had an answer. While the main process hands
    /// a connection over, both have it: the worker is meant.
    pub fn process_of(&self, client: &Client) -> anyhow::Result<Pid> {
        let (here, there) = (self.address(), client.address()?);
        let is_it = |socket: &Socket| socket.local.port() == here.port() && socket.remote == there;
        let Some(connection) = tcp::all()?.into_iter().find(is_it) else {
            bail!("the server has no connection to its client at {there}");
        };
        let mut candidates = self.workers()?.into_iter().chain([self.pid()]);
        let owner = candidates.find(|&pid| descriptors::sockets(pid).contains(&connection.inode));
        owner.ok_or_else(|| anyhow!("no process of the server has the connection to {there}"))
    }

    /// Adds a kind that shows only at run time. A model must declare its kinds itself.
    pub fn add_kind(&mut self, kind: Kind) -> anyhow::Result<()> {
        if self.is(kind) {
            return Ok(());
        }
        ensure!(
            !matches!(self.participant, Participant::Model(_)),
            "it behaves like the kind {kind:?}, which the model does not declare"
        );
        self.kinds.push(kind);
        Ok(())
    }

    /// Whether it starts a process or a thread for each connection.
    pub fn has_worker_per_connection(&mut self) -> anyhow::Result<bool> {
        /// More than a server starts for other reasons with its first connections.
        const SAMPLE: usize = 16;
        let _clients = self.connect_clients(SAMPLE)?;
        let (now, before) = (self.resources()?, self.baseline);
        Ok(now.threads + now.processes >= before.threads + before.processes + SAMPLE)
    }

    /// Sends a signal to the main process.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.server.signal(signal)?)
    }

    /// Stops the main process (SIGSTOP); its children continue.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let is_stopped = || is_stopped(self.pid());
        ensure!(wait_until(STALL, is_stopped), "SIGSTOP did not stop the server");
        Ok(())
    }

    /// Continues the main process (SIGCONT).
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Stops all of its processes.
    pub fn freeze_all(&self) -> anyhow::Result<()> {
        let are_stopped = || {
            // Repeated, for processes that were being forked.
            self.signal_all(Signal::SIGSTOP).is_ok()
                && self
                    .processes()
                    .is_ok_and(|all| all.iter().all(|process| is_stopped(process.pid)))
        };
        ensure!(wait_until(STALL, are_stopped), "SIGSTOP did not stop the server");
        Ok(())
    }

    /// Continues all of its processes.
    pub fn thaw_all(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::SIGCONT)
    }

    fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        for process in self.processes()? {
            // A process that has just ended needs no signal.
            let _ = kill(process.pid, signal);
        }
        Ok(())
    }

    /// Kills one of its processes and waits for its end. Sends the signal repeatedly: a Rust
    /// program survives the first SIGSEGV that another process sends.
    pub fn kill(&self, pid: Pid, signal: Signal) -> anyhow::Result<()> {
        let has_ended = || process(pid).is_none_or(|process| process.state == 'Z');
        let is_killed = || {
            has_ended() || {
                // It may have ended by now.
                let _ = kill(pid, signal);
                false
            }
        };
        ensure!(wait_until(STALL, is_killed), "a process survived {signal}");
        Ok(())
    }

    /// Has a folder removed at its end, however the harness ends.
    pub fn remove_at_end(&self, folder: &Path) -> anyhow::Result<()> {
        Ok(self.server.remove_at_end(folder)?)
    }

    /// How many sockets it has open, and how many of them have a descriptor of `first` or more.
    pub fn sockets_from(&self, first: RawFd) -> io::Result<(usize, usize)> {
        resources::sockets_from(first, self.guard())
    }

    /// Anonymous memory of its processes; shared pages count once.
    pub fn memory_bytes(&self) -> anyhow::Result<u64> {
        let mut all = 0;
        for Process { pid, .. } in self.processes()? {
            match usage::anonymous_pss_bytes(&[pid]) {
                Some(bytes) => all += bytes,
                None if process(pid).is_none_or(|process| process.state == 'Z') => {}
                None => bail!(Unsupported(
                    "the memory of another process cannot be read: run as root".into()
                )),
            }
        }
        Ok(all)
    }

    /// Whether one of its processes has an io_uring.
    pub fn has_ring(&self) -> io::Result<bool> {
        let processes = self.processes()?;
        Ok(processes.iter().any(|process| descriptors::has_ring(process.pid)))
    }

    /// Skips the case if the harness may not have descriptors for that many clients.
    pub fn require_descriptors_for(&self, clients: usize) -> anyhow::Result<()> {
        /// For everything except the clients, including the cases that run in parallel.
        const OTHERS: u64 = 200;
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let needed = clients as u64 + OTHERS;
        ensure!(
            limit >= needed,
            Unsupported(format!(
                "{clients} clients need {needed} descriptors, and the limit is {limit}: raise the hard limit (`ulimit -Hn`)"
            ))
        );
        Ok(())
    }
}
