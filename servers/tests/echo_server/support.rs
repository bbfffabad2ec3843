//! A server as a child process of a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::listener::Transport;
use servers::models;

/// Far longer than anything takes: whoever waits for this has found a fault.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is killed when the test is over.
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

    /// The same by a command that ends in the program.
    pub fn start_as(mut program: Command, model: &str, options: &[&str]) -> Self {
        let mut child = program
            .args([model, "--listen", "127.0.0.1:0"])
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
        let address = line
            .trim_end()
            .strip_prefix("ready ")
            .and_then(|address| address.parse().ok());
        Server {
            address: address.unwrap_or_else(|| panic!("{model}: `{line}`")),
            child,
            transport: models::find(model).unwrap().transport(),
        }
    }

    /// A client. Over UDP it is a connected socket all the same, which reads and writes by
    /// the same calls: one message each, if it fits.
    pub fn connect(&self) -> TcpStream {
        let stream = match self.transport {
            Transport::Stream => TcpStream::connect(self.address).unwrap(),
            Transport::Datagram => TcpStream::from(OwnedFd::from(self.connect_from("127.0.0.1:0"))),
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A socket for datagrams that is bound to `source`.
    pub fn connect_from(&self, source: impl ToSocketAddrs) -> UdpSocket {
        let socket = UdpSocket::bind(source).unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
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

/// The program under test.
pub fn echo_server() -> Command {
    Command::new(env!("CARGO_BIN_EXE_echo-server"))
}

/// Sends a message and expects it back.
pub fn exchange(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, message);
}
