//! A server under test: a child process that ends with the harness.

pub mod conditions;
mod error;
pub mod guard;
mod handed_on;
mod launch;
mod output;
pub(crate) mod own_executable;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::slice;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::affinity;
use crate::proc::processes::{Process, guarded_by};
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

/// A running server; dropping it ends all its processes.
#[derive(Debug)]
pub struct Server {
    guard: Guard,
    /// The process that was started; of a server that went into the background, the one that stayed.
    main: Pid,
    is_external: bool,
    is_in_background: bool,
    address: SocketAddr,
    output: Receiver<String>,
    log: PathBuf,
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
                Err(ServerError::EndedEarly(_) | ServerError::LeftNothing(_))
                    if left > 0 && free_address(listen).is_err() => {}
                result => return result,
            }
        }
    }

    fn start_on(launch: &Launch, listen: SocketAddr) -> Result<Self, ServerError> {
        let log = File::create(&launch.log).map_err(|error| ServerError::Log {
            path: launch.log.clone(),
            error,
        })?;
        let command = launch.conditions.impose(launch.command(listen))?;
        let output = match launch.is_external() {
            true => log.try_clone()?.into(),
            false => Stdio::piped(),
        };
        let start = || Guard::start(&command, output, log);
        let mut guard = match launch.cpus.as_slice() {
            [] => start()?,
            cpus => affinity::with(cpus, start).map_err(ServerError::Pin)??,
        };
        // From here on an early return ends the server.
        let mut server = Server {
            address: listen,
            output: read_lines(guard.output())?,
            main: guard.pid(),
            is_external: launch.is_external(),
            is_in_background: false,
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
            Err(RecvTimeoutError::Disconnected) => Err(match self.guard.wait(READY_WITHIN)? {
                Some(status) => ServerError::EndedEarly(status),
                None => ServerError::NotReady,
            }),
        }
    }

    /// Waits until a process of the server listens on the given address, possibly among others.
    fn await_listener(&mut self) -> Result<(), ServerError> {
        let due = self.address;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            // First whether there is a listener, as its owner takes longer to find.
            let is_there = tcp::listeners()?.iter().any(|socket| is_at(due, socket));
            let own = || tcp::listeners_of(&self.processes()?);
            let is_ready = is_there && own()?.iter().any(|socket| is_at(due, socket));
            // After that, since a process may have passed its listener on and ended.
            match self.guard.ended()? {
                Some(status) if !status.success() => return Err(ServerError::EndedEarly(status)),
                // The first process of a server that goes into the background ends so.
                Some(_) if self.guard.all_ended()?.is_some() => return Err(ServerError::LeftNothing(due)),
                _ if is_ready => return Ok(()),
                _ => {}
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

    /// All processes that were started for it, zombies included.
    fn processes(&self) -> io::Result<Vec<Process>> {
        guarded_by(self.guard.id())
    }

    /// The process that serves in the background after the first one has ended, if one does: the
    /// outermost one that listens on the address.
    fn in_background(&self) -> io::Result<Option<Pid>> {
        let mut listening = Vec::new();
        for process in self.processes()? {
            let listeners = tcp::listeners_of(slice::from_ref(&process))?;
            if listeners.iter().any(|socket| is_at(self.address, socket)) {
                listening.push(process);
            }
        }
        let is_outermost = |process: &&Process| process.parent == self.guard.id();
        let outermost = listening.iter().find(is_outermost);
        Ok(outermost.or(listening.first()).map(|process| process.pid))
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of its main process.
    pub fn pid(&self) -> Pid {
        self.main
    }

    /// The process whose descendants, in any group and session, are the processes of the server. It
    /// leads their process group, and is none of them.
    pub fn guard(&self) -> Pid {
        self.guard.id()
    }

    /// Its exit status, if it has ended. A server that went into the background has when all its
    /// processes have; the status is that of the last.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(status) = self.guard.ended()? else {
            return Ok(None);
        };
        if !self.is_in_background {
            let stayed = match self.is_external && status.success() {
                true => self.in_background()?,
                false => None,
            };
            let Some(main) = stayed else {
                return Ok(Some(status));
            };
            self.main = main;
            self.is_in_background = true;
        }
        self.guard.all_ended()
    }

    /// Removes an empty folder once all its processes have ended, however the harness ends.
    pub fn remove_at_end(&self, folder: &Path) -> io::Result<()> {
        self.guard.remove_at_end(folder)
    }

    /// Sends its main process a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.main == self.guard.pid() {
            return self.guard.signal(signal);
        }
        match kill(self.main, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
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
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
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

/// Whether a listener accepts connections to an address.
fn is_at(address: SocketAddr, listener: &tcp::Socket) -> bool {
    let local = listener.local;
    local.port() == address.port() && (local.ip() == address.ip() || local.ip().is_unspecified())
}
