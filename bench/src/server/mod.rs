//! A server under test: a child process that ends with the harness.

pub mod conditions;
mod error;
pub mod guard;
mod launch;
mod output;
pub(crate) mod own_executable;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::affinity;
use crate::proc::tcp;

pub use error::ServerError;
pub use launch::{ANY_PORT, Launch, Program};
pub use output::stderr_tail;

use error::READY_WITHIN;
use guard::Guard;
use launch::free_address;
use output::{read_lines, ready_address};

/// Interval of the checks whether a process has ended.
const EXIT_CHECK: Duration = Duration::from_millis(1);

/// Interval of the checks whether a server listens: long enough to take no time from a server
/// that starts on the same processor.
const LISTENER_CHECK: Duration = Duration::from_millis(5);

/// How often an external server is started if it ends early and its port turns out to be
/// taken: another process may bind a free port before the server does.
const STARTS: usize = 3;

/// A running server; dropping it ends its whole process group.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    output: Receiver<String>,
    log: PathBuf,
    /// Dropped last, so that it kills what has not ended by itself.
    guard: Guard,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(launch: &Launch) -> Result<Self, ServerError> {
        if !launch.is_external() || launch.listen.port() != 0 {
            return Server::start_on(launch, launch.listen);
        }
        let mut left = STARTS;
        loop {
            let listen = free_address(launch.listen)?;
            left -= 1;
            match Server::start_on(launch, listen) {
                Err(ServerError::EndedEarly(_)) if left > 0 && free_address(listen).is_err() => {}
                result => return result,
            }
        }
    }

    fn start_on(launch: &Launch, listen: SocketAddr) -> Result<Self, ServerError> {
        let log = File::create(&launch.log)?;
        let mut command = launch.conditions.impose(launch.command(listen))?;
        command.stdin(Stdio::null());
        match launch.is_external() {
            true => command.stdout(log.try_clone()?),
            false => command.stdout(Stdio::piped()),
        };
        command.stderr(log);
        let guard = Guard::start()?;
        guard.adopt(&mut command);
        let mut child = match launch.cpus.as_slice() {
            [] => command.spawn()?,
            cpus => affinity::with(cpus, || command.spawn())??,
        };
        // From here on an early return ends the server.
        let mut server = Server {
            address: listen,
            output: read_lines(child.stdout.take()),
            child,
            log: launch.log.clone(),
            guard,
        };
        match launch.is_external() {
            true => server.await_listener()?,
            false => server.address = server.await_ready_line()?,
        }
        Ok(server)
    }

    fn await_ready_line(&mut self) -> Result<SocketAddr, ServerError> {
        match self.output.recv_timeout(READY_WITHIN) {
            Ok(line) => ready_address(&line).ok_or(ServerError::WrongLine(line)),
            Err(RecvTimeoutError::Timeout) => Err(ServerError::NotReady),
            Err(RecvTimeoutError::Disconnected) => Err(ServerError::EndedEarly(self.child.wait()?)),
        }
    }

    /// Waits until a process of the group listens on the given address, possibly among others.
    fn await_listener(&mut self) -> Result<(), ServerError> {
        let due = self.address;
        let is_due = |socket: &tcp::Socket| {
            let local = socket.local;
            local.port() == due.port() && (local.ip() == due.ip() || local.ip().is_unspecified())
        };
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            // First whether there is a listener, as its owner takes longer to find.
            let is_there = tcp::listeners()?.iter().any(is_due);
            let own = || tcp::listeners_of(self.guard.group());
            let is_ready = is_there && own()?.iter().any(is_due);
            // After that, since a process may have passed its listener on and ended.
            if let Some(status) = self.child.try_wait()? {
                return Err(match status.success() {
                    true => ServerError::LeftForeground(due),
                    false => ServerError::EndedEarly(status),
                });
            }
            if is_ready {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let found: Vec<_> = own()?.iter().map(|socket| socket.local.to_string()).collect();
                return Err(match found.is_empty() {
                    true if is_there => ServerError::Stranger(due),
                    true => ServerError::NotListening(due),
                    false => ServerError::Elsewhere {
                        due,
                        found: found.join(" and "),
                    },
                });
            }
            thread::sleep(LISTENER_CHECK);
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Removes an empty folder once all its processes have ended, however the harness ends.
    pub fn remove_at_end(&self, folder: &Path) -> io::Result<()> {
        self.guard.remove_at_end(folder)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// Waits at most `time` for it to end.
    pub fn wait(&mut self, time: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + time;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => thread::sleep(EXIT_CHECK),
                ended => return Ok(ended),
            }
        }
    }

    /// Stops it with SIGTERM and waits for it to end.
    pub fn stop(mut self, within: Duration) -> Result<ExitStatus, ServerError> {
        self.signal(Signal::SIGTERM)?;
        self.wait(within)?.ok_or(ServerError::NotStopped(within))
    }

    /// Lines that it printed after the ready line; there should be none.
    pub fn further_output(&self) -> Vec<String> {
        self.output.try_iter().collect()
    }

    /// The end of its standard error.
    pub fn stderr(&self) -> String {
        stderr_tail(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The guard kills the group, but only the harness can wait for its child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
