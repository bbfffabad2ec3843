//! What a server holds: processes, threads, descriptors and connections.
//!
//! A server is all that its guard would end: also a process that it has left behind, and one that has
//! left its process group. The guard of the harness does not count.

use std::io;
use std::os::fd::RawFd;

use nix::unistd::Pid;
use procfs::net::TcpState;

use crate::proc::descriptors::{descriptors, socket_descriptors};
use crate::proc::processes::{guarded_by, own_tasks};
use crate::proc::tcp::{self, Socket};

/// What a server holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Processes, without zombies.
    pub processes: usize,
    /// Processes that have ended and that their parent has not waited for.
    pub zombies: usize,
    /// Threads of all processes.
    pub threads: usize,
    /// Descriptors of all processes.
    pub descriptors: usize,
}

impl Resources {
    /// How they differ from `expected`: `zombies: 4 instead of 0`.
    pub fn difference(&self, expected: &Resources) -> String {
        let counts = [
            ("processes", self.processes, expected.processes),
            ("zombies", self.zombies, expected.zombies),
            ("threads", self.threads, expected.threads),
            ("descriptors", self.descriptors, expected.descriptors),
        ];
        let differing: Vec<_> = counts
            .iter()
            .filter(|(_, seen, expected)| seen != expected)
            .map(|(name, seen, expected)| format!("{name}: {seen} instead of {expected}"))
            .collect();
        differing.join(", ")
    }
}

/// What the server of a guard holds.
pub fn of_server(guard: Pid) -> io::Result<Resources> {
    let mut total = Resources::default();
    for process in guarded_by(guard)? {
        if process.state == 'Z' {
            total.zombies += 1;
            continue;
        }
        total.processes += 1;
        total.threads += own_tasks(process.pid).len();
        total.descriptors += descriptors(process.pid).len();
    }
    Ok(total)
}

/// How many sockets the server of a guard has open, and how many of them have a descriptor of
/// `first` or more.
pub fn sockets_from(first: RawFd, guard: Pid) -> io::Result<(usize, usize)> {
    let numbers: Vec<RawFd> = guarded_by(guard)?
        .iter()
        .flat_map(|process| socket_descriptors(process.pid))
        .collect();
    let high = numbers.iter().filter(|&&number| number >= first).count();
    Ok((numbers.len(), high))
}

/// The connections of a local port, including those that no process has open any more.
pub fn connections(port: u16) -> io::Result<Vec<Socket>> {
    let mut sockets = tcp::all()?;
    sockets.retain(|socket| socket.local.port() == port);
    Ok(sockets)
}

/// Whether this side has closed first, and the peer has not closed yet.
pub fn is_in_fin_wait(socket: &Socket) -> bool {
    matches!(socket.state, TcpState::FinWait1 | TcpState::FinWait2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn only_differences_are_named() {
        let expected = Resources::default();
        let seen = Resources {
            zombies: 4,
            threads: 1,
            ..expected
        };
        assert_eq!(
            seen.difference(&expected),
            "zombies: 4 instead of 0, threads: 1 instead of 0"
        );
    }

    #[test]
    fn a_connection_shows_its_unread_bytes_and_which_side_closed_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop(listener);
        client.write_all(&[7; 42]).unwrap();
        let only = || match &connections(address.port()).unwrap()[..] {
            [only] => only.clone(),
            others => panic!("{others:?}"),
        };
        assert_eq!((only().unread_bytes, is_in_fin_wait(&only())), (42, false));
        server.shutdown(Shutdown::Write).unwrap();
        assert!(is_in_fin_wait(&only()));
    }
}
