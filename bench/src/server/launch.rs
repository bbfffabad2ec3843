//! How to start a server: the program, its address, arguments and conditions.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use super::conditions::Conditions;
use super::own_executable::Entry;
use crate::external::External;

/// Loopback with a free port.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Launch {
    /// A model of the registry, or the program of another server.
    pub program: Program,
    /// Where it must listen, passed as `--listen` or as the command of an external server
    /// asks for it; port 0 picks a free port.
    pub listen: SocketAddr,
    /// Further arguments; an external server gets none.
    pub arguments: Vec<String>,
    /// Conditions that it starts under.
    pub conditions: Conditions,
    /// Processors that it inherits; if empty, those of the harness.
    pub cpus: Vec<usize>,
    /// File for its standard error, and for the standard output of an external server.
    pub log: PathBuf,
}

/// What is started.
#[derive(Debug, Clone)]
pub enum Program {
    /// A model of the registry, served by this executable.
    Model(&'static str),
    /// Another program that prints the ready line, such as the servers of the tests.
    Command {
        /// The executable.
        path: PathBuf,
        /// Environment variables that it needs.
        environment: Vec<(String, String)>,
    },
    /// A command of the user, unaware of the harness: it is ready when it listens.
    External(External),
}

impl Launch {
    /// The command that starts the server on an address.
    pub(super) fn command(&self, listen: SocketAddr) -> Command {
        let mut command = match &self.program {
            Program::External(external) => return external.start_on(listen),
            Program::Model(name) => {
                let mut command = Entry::Server.command();
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

    pub(super) fn is_external(&self) -> bool {
        matches!(self.program, Program::External(_))
    }
}

/// Picks the port of an address, if it has none, such that a server without SO_REUSEADDR can
/// bind it; an error if the address has a port that is taken.
pub(super) fn free_address(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket();
    bound.ok_or_else(|| io::Error::other("a TCP socket without an address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_free_address_has_a_port_and_a_taken_one_is_an_error() {
        let address = free_address(ANY_PORT).unwrap();
        assert_ne!(address.port(), 0);
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        assert!(free_address(listener.local_addr().unwrap()).is_err());
    }
}
