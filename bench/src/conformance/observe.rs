//! What /proc says of a server: its processes, threads, descriptors and ports.
//!
//! A server is everything in its process group, so that a process which it has left
//! behind, and which is no child of it any more, is still seen. The leader of the group
//! is the guard of the harness and does not count.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use nix::unistd::Pid;

use crate::proc::descriptors::{descriptors, socket_descriptors};
use crate::proc::processes::{group_members, own_tasks};
use crate::proc::tcp::{self, Socket};

/// What a server holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Processes, without zombies.
    pub processes: usize,
    /// Processes that have ended and that nobody has waited for.
    pub zombies: usize,
    /// Threads that the server has started, over all processes.
    pub threads: usize,
    /// Descriptors, over all processes.
    pub descriptors: usize,
}

/// One side of a TCP connection, or a listener, as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Its state, as the kernel numbers them (`net/tcp_states.h`).
    pub state: u8,
    /// Bytes that the other side has not taken yet.
    pub unsent_bytes: u32,
    /// Bytes that the process has not read yet.
    pub unread_bytes: u32,
}

impl Connection {
    /// Whether neither side has ended it.
    pub fn is_established(&self) -> bool {
        const ESTABLISHED: u8 = 1;
        self.state == ESTABLISHED
    }

    /// Whether this side has closed first and the other has not answered that.
    pub fn is_in_fin_wait(&self) -> bool {
        const FIN_WAIT_1: u8 = 4;
        const FIN_WAIT_2: u8 = 5;
        matches!(self.state, FIN_WAIT_1 | FIN_WAIT_2)
    }
}

impl Holdings {
    /// What is otherwise than in `expected`: `zombies: 4 instead of 0`.
    pub fn difference(&self, expected: &Holdings) -> String {
        let counts = [
            ("processes", self.processes, expected.processes),
            ("zombies", self.zombies, expected.zombies),
            ("threads", self.threads, expected.threads),
            ("descriptors", self.descriptors, expected.descriptors),
        ];
        let differing: Vec<_> = counts
            .iter()
            .filter(|(_, seen, due)| seen != due)
            .map(|(name, seen, due)| format!("{name}: {seen} instead of {due}"))
            .collect();
        differing.join(", ")
    }
}

/// What the server in a group holds.
pub fn holdings(group: Pid) -> io::Result<Holdings> {
    let mut total = Holdings::default();
    for process in group_members(group)? {
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

/// The connections of a local port, also those that no process has any more.
pub fn connections(port: u16) -> io::Result<Vec<Connection>> {
    let connection = |socket: Socket| Connection {
        state: socket.state as u8,
        unsent_bytes: socket.unsent_bytes,
        unread_bytes: socket.unread_bytes,
    };
    let of_port = tcp::all()?
        .into_iter()
        .filter(|socket| socket.local.port() == port);
    Ok(of_port.map(connection).collect())
}

/// How many connections have found the queue of a listener full, any listener of this network
/// namespace, since it exists.
pub fn backlog_overflows() -> io::Result<u64> {
    let table = fs::read_to_string("/proc/net/netstat")?;
    counter(&table, "TcpExt:", "ListenOverflows")
        .ok_or_else(|| io::Error::other("/proc/net/netstat does not count ListenOverflows"))
}

/// A number of a table in which a line with names is followed by one with their values.
fn counter(table: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = table.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|field| field == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// How many sockets the server in a group has open, and how many of these have a descriptor
/// from `first` on.
pub fn sockets_from(first: RawFd, group: Pid) -> io::Result<(usize, usize)> {
    let numbers: Vec<RawFd> = group_members(group)?
        .iter()
        .flat_map(|process| socket_descriptors(process.pid))
        .collect();
    let high = numbers.iter().filter(|&&number| number >= first).count();
    Ok((numbers.len(), high))
}

/// How many datagrams found no room in the queue of a local port over IPv4.
pub fn lost_datagrams(port: u16) -> io::Result<u64> {
    let table = fs::read_to_string("/proc/net/udp")?;
    let lost = |line: &str| -> Option<u64> {
        let (_, local) = line.split_whitespace().nth(1)?.split_once(':')?;
        let is_it = u16::from_str_radix(local, 16).is_ok_and(|local| local == port);
        is_it.then(|| line.split_whitespace().last()?.parse().ok())?
    };
    Ok(table.lines().filter_map(lost).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};

    #[test]
    fn only_what_differs_is_named() {
        let due = Holdings::default();
        let seen = Holdings {
            zombies: 4,
            threads: 1,
            ..due
        };
        assert_eq!(
            seen.difference(&due),
            "zombies: 4 instead of 0, threads: 1 instead of 0"
        );
    }

    #[test]
    fn a_counter_is_the_value_below_its_name() {
        let table = "TcpExt: A ListenOverflows B\nTcpExt: 1 42 3\nIpExt: ListenOverflows\nIpExt: 7\n";
        assert_eq!(counter(table, "TcpExt:", "ListenOverflows"), Some(42));
        assert_eq!(counter(table, "TcpExt:", "ListenDrops"), None);
        backlog_overflows().unwrap();
    }

    #[test]
    fn datagrams_that_nobody_takes_are_lost_once_the_queue_is_full() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&socket).set_recv_buffer_size(1 << 16).unwrap();
        let address = socket.local_addr().unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(lost_datagrams(address.port()).unwrap(), 0);
        for _ in 0..1000 {
            client.send_to(&[0; 1024], address).unwrap();
        }
        let lost = lost_datagrams(address.port()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let queued = std::iter::repeat_with(|| socket.recv(&mut [0; 1024])).take_while(Result::is_ok);
        assert_eq!(lost + queued.count() as u64, 1000);
        assert!(lost > 0);
    }

    #[test]
    fn a_connection_shows_what_nobody_has_read_and_which_side_closed_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop(listener);
        client.write_all(&[7; 42]).unwrap();
        let only = || match connections(address.port()).unwrap()[..] {
            [only] => only,
            ref others => panic!("{others:?}"),
        };
        assert_eq!((only().unread_bytes, only().is_in_fin_wait()), (42, false));
        server.shutdown(Shutdown::Write).unwrap();
        assert!(only().is_in_fin_wait());
    }
}
