//! A server as a child process of a test.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::listener::Transport;
use servers::models;

/// Turns a hang into a failure. No test depends on how fast the server is.
pub const TIME_OUT: Duration = Duration::from_secs(60);

/// A drain time far beyond [`TIME_OUT`]: a server that waits for its end is a hang.
pub const LONG_DRAIN: &str = "1h";

/// A server, killed at the end of the test.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    transport: Transport,
}

impl Server {
    /// Starts a model on a free port and waits for its ready line.
    pub fn start(model: &str, options: &[&str]) -> Self {
        Server::start_as(echo_server(), model, options)
    }

    /// Starts a model with a command that runs `echo-server`.
    pub fn start_as(program: Command, model: &str, options: &[&str]) -> Self {
        let started = Server::try_start_as(program, model, options);
        started.unwrap_or_else(|output| panic!("{model}: {output:?}"))
    }

    /// The same for a server that may end before it is ready.
    pub fn try_start_as(program: Command, model: &str, options: &[&str]) -> Result<Self, Output> {
        let (child, address) = try_start(program, model, "127.0.0.1:0", options)?;
        Ok(Server {
            address: address.parse().unwrap_or_else(|_| panic!("{model}: `{address}`")),
            child,
            transport: models::find(model).unwrap().transport(),
        })
    }

    /// Connects a client.
    pub fn connect(&self) -> TcpStream {
        connect(self.address, self.transport)
    }

    /// Connects a datagram socket that is bound to `source`.
    pub fn connect_from(&self, source: impl ToSocketAddrs) -> UdpSocket {
        connect_datagram(self.address, source)
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }

    /// Waits until the server refuses connections.
    pub fn wait_until_refused(&self) {
        wait_until("the server refuses connections", || {
            TcpStream::connect(self.address).is_err()
        });
    }

    /// Waits until the server serves a client again: the client sees the end of a connection
    /// before the server has counted it.
    pub fn wait_for_service(&self) -> TcpStream {
        let mut served = None;
        wait_until("the server serves a client", || {
            let mut client = self.connect();
            let _ = client.write_all(b"x");
            let answered = matches!(client.read(&mut [0; 1]), Ok(1));
            served = answered.then_some(client);
            answered
        });
        served.unwrap()
    }

    /// The number of open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The number of threads of the server and its children.
    pub fn tasks(&self) -> usize {
        let threads = |pid: &str| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        let pid = self.pid().to_string();
        let parent = |child: &str| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
            // Behind the name, which may have any character.
            stat.rsplit(')')
                .next()?
                .split_whitespace()
                .nth(1)
                .map(str::to_owned)
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let children = names.filter(|name| parent(name).as_ref() == Some(&pid));
        threads(&pid) + children.map(|child| threads(&child)).sum::<usize>()
    }

    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a model and waits for its ready line; returns the process and its address.
pub fn start(program: Command, model: &str, listen: &str, options: &[&str]) -> (Child, String) {
    let started = try_start(program, model, listen, options);
    started.unwrap_or_else(|output| panic!("{model}: {output:?}"))
}

fn try_start(
    mut program: Command,
    model: &str,
    listen: &str,
    options: &[&str],
) -> Result<(Child, String), Output> {
    let mut child = program
        .args([model, "--listen", listen])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    match line.trim_end().strip_prefix("ready ") {
        Some(address) => Ok((child, address.to_owned())),
        None => Err(child.wait_with_output().unwrap()),
    }
}

/// Waits until a process has ended.
pub fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the server exits", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// Connects a client. Over UDP it is a connected socket, which reads and writes with the
/// same calls, one message each.
pub fn connect(address: SocketAddr, transport: Transport) -> TcpStream {
    let stream = match transport {
        Transport::Stream => TcpStream::connect(address).unwrap(),
        Transport::Datagram => TcpStream::from(OwnedFd::from(connect_datagram(address, "127.0.0.1:0"))),
    };
    stream.set_read_timeout(Some(TIME_OUT)).unwrap();
    stream
}

fn connect_datagram(address: SocketAddr, source: impl ToSocketAddrs) -> UdpSocket {
    let socket = UdpSocket::bind(source).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(TIME_OUT)).unwrap();
    socket
}

/// The program under test.
pub fn echo_server() -> Command {
    Command::new(env!("CARGO_BIN_EXE_echo-server"))
}

/// Sends a message and expects it back.
pub fn exchange(stream: &mut (impl Read + Write), message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, message);
}

/// Expects the end of the stream, or a reset.
pub fn expect_end(client: &mut impl Read) {
    let end = client.read(&mut [0; 8]);
    let reset = end
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    assert!(reset || matches!(end, Ok(0)), "{end:?}");
}

/// Waits for a condition; `what` completes the message "timed out before ...".
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIME_OUT;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out before {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The system call in which a task of a process is blocked, if it is.
pub fn blocked_in(process: i32, task: i32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{task}/syscall")).ok()?;
    // A task that is not blocked is `running`.
    text.split_whitespace().next()?.parse().ok()
}

/// Whether this host has prlimit(1).
pub fn has_prlimit() -> bool {
    let found = Command::new("prlimit").arg("--version").output().is_ok();
    if !found {
        eprintln!("not checked: prlimit(1) is missing");
    }
    found
}

/// Sets a limit of a running server; `false` if this host lacks prlimit(1).
pub fn limit(server: &Server, limit: &str) -> bool {
    let status = Command::new("prlimit")
        .args([limit, "--pid", &server.child.id().to_string()])
        .status();
    let set = status.is_ok_and(|status| status.success());
    if !set {
        eprintln!("not checked: prlimit(1), which sets the limit, is missing");
    }
    set
}
