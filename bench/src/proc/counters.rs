//! Counters of the network stack that `procfs` does not read.

use std::fs;
use std::io;

/// How many connections found the queue of a listener full, over all listeners of the network
/// namespace of this process since it exists.
pub fn backlog_overflows() -> io::Result<u64> {
    let table = fs::read_to_string("/proc/net/netstat")?;
    named(&table, "TcpExt:", "ListenOverflows")
        .ok_or_else(|| io::Error::other("/proc/net/netstat does not count ListenOverflows"))
}

/// How many datagrams found the receive buffer of a local IPv4 port full.
pub fn lost_datagrams(port: u16) -> io::Result<u64> {
    let table = fs::read_to_string("/proc/net/udp")?;
    let lost = |line: &str| -> Option<u64> {
        let (_, local) = line.split_whitespace().nth(1)?.split_once(':')?;
        let is_it = u16::from_str_radix(local, 16).is_ok_and(|local| local == port);
        is_it.then(|| line.split_whitespace().last()?.parse().ok())?
    };
    Ok(table.lines().filter_map(lost).sum())
}

/// A value of a table in which a line of names is followed by a line of values.
fn named(table: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = table.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|field| field == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::UdpSocket;

    #[test]
    fn a_value_is_found_below_its_name() {
        let table = "TcpExt: A ListenOverflows B\nTcpExt: 1 42 3\nIpExt: ListenOverflows\nIpExt: 7\n";
        assert_eq!(named(table, "TcpExt:", "ListenOverflows"), Some(42));
        assert_eq!(named(table, "TcpExt:", "ListenDrops"), None);
        backlog_overflows().unwrap();
    }

    #[test]
    fn datagrams_are_lost_when_the_receive_buffer_is_full() {
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
}
