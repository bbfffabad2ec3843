//! TCP sockets as `/proc/net` shows them: looking leaves nothing behind, where a
//! connection made to find out whether anybody listens would.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

use nix::unistd::Pid;

use crate::proc::processes;

/// The state of a listener, as the kernel numbers them (`net/tcp_states.h`).
const LISTEN: u8 = 10;

/// A listener, or one side of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its own address, an IPv4 address that is written as IPv6 as what it is.
    pub local: SocketAddr,
    /// The address of the other side; a listener has port 0 there.
    pub remote: SocketAddr,
    /// Its state, as the kernel numbers them.
    pub state: u8,
    /// Bytes that the other side has not taken yet.
    pub unsent_bytes: u32,
    /// Bytes that the process has not read yet.
    pub unread_bytes: u32,
    /// What a descriptor of it is known by.
    pub inode: u64,
}

/// All TCP sockets of the network namespace that this thread is in.
pub fn all() -> io::Result<impl Iterator<Item = Socket>> {
    Ok(table("tcp")?.chain(table("tcp6")?))
}

/// The listeners among them. Both tables begin with these, so the rest is not read:
/// after a load it holds thousands of connections.
pub fn listeners() -> io::Result<Vec<Socket>> {
    let is_listener = |socket: &Socket| socket.state == LISTEN;
    let four = table("tcp")?.take_while(is_listener);
    let six = table("tcp6")?.take_while(is_listener);
    Ok(four.chain(six).collect())
}

/// The listeners that processes of a group hold, as far as these may be looked at.
pub fn listeners_of(group: Pid) -> io::Result<Vec<Socket>> {
    let members = processes::group_members(group)?;
    let held: Vec<u64> = members
        .iter()
        .flat_map(|member| processes::sockets(member.pid))
        .collect();
    let mut listeners = listeners()?;
    listeners.retain(|listener| held.contains(&listener.inode));
    Ok(listeners)
}

/// The lines of a table that are sockets; none where the kernel lacks the protocol.
fn table(protocol: &str) -> io::Result<impl Iterator<Item = Socket> + use<>> {
    let file = match File::open(format!("/proc/thread-self/net/{protocol}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        file => Some(file?),
    };
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).lines());
    Ok(lines.map_while(Result::ok).filter_map(|line| parse(&line)))
}

/// Reads a line like `0: 0100007F:1B5F 0100007F:C3A2 06 00000000:0000002A 00:00000000
/// 00000000 1000 0 67890` and more.
fn parse(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |at: usize| {
        let (address, port) = fields.get(at)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(SocketAddr::new(parse_address(address)?, port))
    };
    let (unsent, unread) = fields.get(4)?.split_once(':')?;
    Some(Socket {
        local: address(1)?,
        remote: address(2)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        unsent_bytes: u32::from_str_radix(unsent, 16).ok()?,
        unread_bytes: u32::from_str_radix(unread, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel prints the bytes of an address as numbers of this machine, four at once.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..hex.len()).step_by(8) {
        let number = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend(number.to_ne_bytes());
    }
    match *bytes.as_slice() {
        [a, b, c, d] => Some([a, b, c, d].into()),
        _ => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|six| IpAddr::from(six).to_canonical()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener};

    #[test]
    fn a_listener_is_found_under_its_address_and_owner() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                eprintln!("{address}: not on this host");
                continue;
            };
            let local = listener.local_addr().unwrap();
            let found = listeners()
                .unwrap()
                .into_iter()
                .find(|socket| socket.local == local);
            let inode = found.unwrap_or_else(|| panic!("{local} is not listed")).inode;
            assert!(
                processes::sockets(nix::unistd::getpid()).contains(&inode),
                "{local}"
            );
            drop(listener);
            assert!(
                !listeners().unwrap().iter().any(|socket| socket.local == local),
                "{local}"
            );
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        let line = "  3: 0000000000000000FFFF00000100007F:1B5F 00000000000000000000000000000000:0000 0A \
                    00000001:00000002 00:00000000 00000000     0        0 4711 1 0";
        let expected = Socket {
            local: ([127, 0, 0, 1], 7007).into(),
            remote: (Ipv6Addr::UNSPECIFIED, 0).into(),
            state: LISTEN,
            unsent_bytes: 1,
            unread_bytes: 2,
            inode: 4711,
        };
        assert_eq!(parse(line), Some(expected));
    }
}
