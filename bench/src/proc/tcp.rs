//! TCP sockets, from `/proc/net/tcp` and `tcp6`. Reading the tables does not disturb a
//! server; a connection made to test whether it listens would.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;

use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs::{FromBufReadSI, current_system_info};

use super::descriptors;
use super::processes::Process;

/// TCP_LISTEN as the tables write it (`net/tcp_states.h`).
const LISTEN: &str = "0A";

/// A listener, or one side of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Local address; an IPv4 address mapped to IPv6 is given as IPv4.
    pub local: SocketAddr,
    /// Address of the peer; its port is 0 for a listener.
    pub remote: SocketAddr,
    /// State of the connection.
    pub state: TcpState,
    /// Bytes that the peer has not acknowledged.
    pub unsent_bytes: u32,
    /// Bytes that the process has not read.
    pub unread_bytes: u32,
    /// Inode, which identifies the descriptors of this socket.
    pub inode: u64,
}

impl From<TcpNetEntry> for Socket {
    fn from(entry: TcpNetEntry) -> Self {
        Socket {
            local: canonical(entry.local_address),
            remote: canonical(entry.remote_address),
            state: entry.state,
            unsent_bytes: entry.tx_queue,
            unread_bytes: entry.rx_queue,
            inode: entry.inode,
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// All TCP sockets of this thread's network namespace.
pub fn all() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for table in tables()? {
        sockets.extend(parse(table)?);
    }
    Ok(sockets)
}

/// All listeners of this thread's network namespace.
pub fn listeners() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for table in tables()? {
        sockets.extend(parse(listener_lines(table)?.as_bytes())?);
    }
    Ok(sockets)
}

/// The listeners that some processes hold, where access is allowed.
pub fn listeners_of(processes: &[Process]) -> io::Result<Vec<Socket>> {
    let held: Vec<u64> = { processes.iter() }
        .flat_map(|process| descriptors::sockets(process.pid))
        .collect();
    let mut listeners = listeners()?;
    listeners.retain(|listener| held.contains(&listener.inode));
    Ok(listeners)
}

/// The tables that this kernel has. `procfs` would read those of the main thread, which may be
/// in another network namespace.
fn tables() -> io::Result<Vec<BufReader<File>>> {
    let mut tables = Vec::new();
    for protocol in ["tcp", "tcp6"] {
        match File::open(format!("/proc/thread-self/net/{protocol}")) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            file => tables.push(BufReader::new(file?)),
        }
    }
    Ok(tables)
}

/// The head of a table and its listeners, which come first. The rest is not read: after a load
/// it holds thousands of connections.
fn listener_lines(table: impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let line = line?;
        if number > 0 && line.split_whitespace().nth(3) != Some(LISTEN) {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn parse(table: impl BufRead) -> io::Result<impl Iterator<Item = Socket>> {
    let entries = TcpNetEntries::from_buf_read(table, current_system_info()).map_err(io::Error::other)?;
    Ok(entries.0.into_iter().map(Socket::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    #[test]
    fn a_listener_is_found_by_its_address_and_its_owner() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                eprintln!("{address}: not available on this host");
                continue;
            };
            let local = listener.local_addr().unwrap();
            let is_it = |socket: &Socket| socket.local == local;
            let found = listeners().unwrap().into_iter().find(is_it);
            let inode = found.unwrap_or_else(|| panic!("{local} is not listed")).inode;
            assert!(descriptors::sockets(Pid::this()).contains(&inode), "{local}");
            drop(listener);
            assert!(!listeners().unwrap().iter().any(is_it), "{local}");
        }
    }

    #[test]
    fn both_sides_of_a_connection_are_listed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let sockets = all().unwrap();
        for side in [&client, &server] {
            let (local, remote) = (side.local_addr().unwrap(), side.peer_addr().unwrap());
            // Earlier connections in TIME_WAIT may have had one of the ports.
            let is_it = |socket: &&Socket| socket.local == local && socket.remote == remote;
            assert_eq!(sockets.iter().find(is_it).unwrap().state, TcpState::Established);
        }
    }

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn an_ipv4_address_mapped_to_ipv6_is_given_as_ipv4() {
        let line = "  3: 0000000000000000FFFF00000100007F:1B5F 00000000000000000000000000000000:0000 0A \
                    00000001:00000002 00:00000000 00000000     0        0 4711 1 0";
        let table = format!("{HEAD}{line}\n");
        let expected = Socket {
            local: ([127, 0, 0, 1], 7007).into(),
            remote: (Ipv6Addr::UNSPECIFIED, 0).into(),
            state: TcpState::Listen,
            unsent_bytes: 1,
            unread_bytes: 2,
            inode: 4711,
        };
        assert_eq!(parse(table.as_bytes()).unwrap().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn the_listeners_of_a_table_end_at_the_first_connection() {
        let line = |state: &str| format!("0: 0100007F:1B5F 0100007F:C3A2 {state} 0:0 0:0 0 0 0 1\n");
        let table = [HEAD, &line("0A"), &line("01"), &line("0A")].concat();
        let lines = listener_lines(table.as_bytes()).unwrap();
        assert_eq!(lines, [HEAD, &line("0A")].concat());
    }
}
