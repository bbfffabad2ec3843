//! A server under test: a child process with an end that nothing can prevent.

pub mod conditions;
pub mod guard;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

use crate::external::External;
use crate::host::affinity;
use crate::proc::tcp;
use crate::role::Role;
use crate::server::conditions::Conditions;
use crate::server::guard::Guard;

/// Time for a server to be ready: ours take milliseconds, an interpreter on a loaded
/// machine takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How often the end of a process is looked for.
const GLANCE: Duration = Duration::from_millis(1);

/// How often a listener is looked for: seldom enough to take no time from a server that
/// starts on the same processor.
const LOOK: Duration = Duration::from_millis(5);

/// How often an external server is started that ends early and finds its port taken:
/// between the choice of a free port and its use, others may choose the same.
const STARTS: usize = 3;

/// How much of a server's standard error is kept for a report.
const STDERR_KEPT: u64 = 4096;

/// A free port of this host.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Launch {
    /// A model of the registry, or the program of another server.
    pub program: Program,
    /// Where it is to listen, which it is told by `--listen`, or as its command says if
    /// it is external; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Arguments after that one; an external server gets none.
    pub arguments: Vec<String>,
    /// What it finds when it starts.
    pub conditions: Conditions,
    /// Processors it is born on; none leaves it where the harness is.
    pub cpus: Vec<usize>,
    /// Where its standard error goes, and an external server's standard output.
    pub log: PathBuf,
}

/// What is started.
#[derive(Debug, Clone)]
pub enum Program {
    /// A model of the registry, served by this executable.
    Model(&'static str),
    /// Another command that prints the ready line: a server that tests bring along.
    Command {
        /// The executable.
        path: PathBuf,
        /// Environment variables that it needs.
        environment: Vec<(String, String)>,
    },
    /// A command of the user's, which knows nothing of this harness: it is ready when it
    /// listens.
    External(External),
}

/// Why a server could not be started or stopped; what it said is added by the caller.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A process could not be made.
    #[error("cannot start a process: {0}")]
    Spawn(#[from] io::Error),
    /// It ended before it was ready.
    #[error("the server ended before it was ready: {0}")]
    EndedEarly(ExitStatus),
    /// Its first process ended, and said that all is well.
    #[error(
        "the command ended with exit status 0 where a server was due on {0}: it has to stay in the foreground"
    )]
    LeftForeground(SocketAddr),
    /// It did not listen.
    #[error(
        "the server did not listen on {0} within {READY_WITHIN:?}: does it use the port that it is given?"
    )]
    NotListening(SocketAddr),
    /// It listened elsewhere.
    #[error("the server listens on {found} where {due} was due: it must use the port that it is given")]
    Elsewhere {
        /// Where it was to listen.
        due: SocketAddr,
        /// Where it does.
        found: String,
    },
    /// Somebody else listens where it should.
    #[error(
        "on {0} listens a process that is not in the server's process group, or may not be looked at: the command \
         itself has to be the server, in the foreground"
    )]
    Stranger(SocketAddr),
    /// It did not say that it is ready.
    #[error("the server was not ready within {READY_WITHIN:?}")]
    NotReady,
    /// It printed something else than the ready line.
    #[error("the server printed `{0}` where the line `ready ADDRESS` was due")]
    WrongLine(String),
    /// It went on after SIGTERM and was killed.
    #[error("the server did not stop within {0:?} of SIGTERM, and was killed")]
    NotStopped(Duration),
}

/// A server that runs; dropping it ends its whole process group.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    output: Receiver<String>,
    log: PathBuf,
    /// Last, so that what has not ended by itself is killed last.
    guard: Guard,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(launch: &Launch) -> Result<Self, ServerError> {
        let picks_itself = !matches!(launch.program, Program::External(_));
        if picks_itself || launch.listen.port() != 0 {
            return Server::start_on(launch, launch.listen);
        }
        let mut left = STARTS;
        loop {
            let listen = reserve(launch.listen)?;
            left -= 1;
            match Server::start_on(launch, listen) {
                Err(ServerError::EndedEarly(_)) if left > 0 && reserve(listen).is_err() => {}
                result => return result,
            }
        }
    }

    fn start_on(launch: &Launch, listen: SocketAddr) -> Result<Self, ServerError> {
        let log = File::create(&launch.log)?;
        let is_external = matches!(launch.program, Program::External(_));
        let mut command = launch.conditions.impose(launch.command(listen))?;
        command.stdin(Stdio::null());
        match is_external {
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
        // From here on an early return ends what was started.
        let mut server = Server {
            address: listen,
            output: read_lines(child.stdout.take()),
            child,
            log: launch.log.clone(),
            guard,
        };
        match is_external {
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

    /// Waits until a process of the group listens where it is due, whatever else it may
    /// listen on.
    fn await_listener(&mut self) -> Result<(), ServerError> {
        let due = self.address;
        let is_due = |socket: &tcp::Socket| {
            let local = socket.local;
            local.port() == due.port() && (local.ip() == due.ip() || local.ip().is_unspecified())
        };
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            // Who holds a listener takes longer to find out than whether there is one.
            let is_there = tcp::listeners()?.iter().any(is_due);
            let own = || tcp::listeners_of(self.guard.group());
            let is_ready = is_there && own()?.iter().any(is_due);
            // After that look: a process may have handed its listener on, and ended.
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
            thread::sleep(LOOK);
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Has a folder removed once all of it has ended, however the harness ends.
    pub fn remove_at_end(&self, folder: &Path) -> io::Result<()> {
        self.guard.remove_at_end(folder)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// Waits for its end, at most for `time`.
    pub fn wait(&mut self, time: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + time;
        loop {
            match self.ended()? {
                None if Instant::now() < deadline => thread::sleep(GLANCE),
                ended => return Ok(ended),
            }
        }
    }

    /// Asks it to stop as an operator would, and waits for that.
    pub fn stop(mut self, within: Duration) -> Result<ExitStatus, ServerError> {
        self.signal(Signal::SIGTERM)?;
        self.wait(within)?.ok_or(ServerError::NotStopped(within))
    }

    /// What it printed after the ready line, which should be nothing.
    pub fn further_output(&self) -> Vec<String> {
        self.output.try_iter().collect()
    }

    /// The end of what it wrote to standard error.
    pub fn stderr(&self) -> String {
        stderr_tail(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The guard kills the group; this process alone can be waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Launch {
    fn command(&self, listen: SocketAddr) -> Command {
        let mut command = match &self.program {
            Program::External(external) => return external.start_on(listen),
            Program::Model(name) => {
                let mut command = Role::Server.command();
                command.arg(name);
                command
            }
            Program::Command { path, environment } => {
                let mut command = Command::new(path);
                command.envs(environment.iter().cloned());
                command
            }
        };
        command
            .arg("--listen")
            .arg(listen.to_string())
            .args(&self.arguments);
        command
    }
}

/// The address with a port that anybody can listen on, also who does not ask for
/// SO_REUSEADDR; an error if it has a port that is taken.
fn reserve(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket();
    bound.ok_or_else(|| io::Error::other("a TCP socket without an address"))
}

/// The end of a server's standard error, as far as it is worth showing.
pub fn stderr_tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(STDERR_KEPT)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// Reads on a thread of its own: a pipe has no time-out. Ends with the server.
fn read_lines(output: Option<ChildStdout>) -> Receiver<String> {
    let (lines, received) = channel();
    if let Some(output) = output {
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
    }
    received
}

fn ready_address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("ready ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_address_and_nothing_else() {
        assert_eq!(
            ready_address("ready 127.0.0.1:7007"),
            "127.0.0.1:7007".parse().ok()
        );
        for wrong in [
            "",
            "ready",
            "ready ",
            "ready 7007",
            "Ready 127.0.0.1:1",
            "ready 127.0.0.1:1 now",
        ] {
            assert_eq!(ready_address(wrong), None, "{wrong}");
        }
    }
}
