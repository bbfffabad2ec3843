//! How a connection begins: a socket whose connect is under way, and what became of it.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::Failure;
use crate::plan::Request;
use crate::source;
use record::{ErrorKind, Transport};

/// Begins a connection from that address, or from one that the system chooses. The socket
/// does not block; it can be written to once the connection is there, or has failed.
///
/// A socket connected over UDP has asked nobody: whether anybody is there, its first
/// message finds out.
pub fn start(request: &Request, source: Option<IpAddr>) -> io::Result<Socket> {
    let (kind, protocol) = match request.transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(
        Domain::for_address(request.target),
        kind.nonblocking(),
        Some(protocol),
    )?;
    if request.transport == Transport::Tcp {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(address) = source {
        source::bind(&socket, address)?;
    }
    match socket.connect(&request.target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket),
    }
}

/// Whether the connection came about.
pub fn settle(socket: &Socket) -> Result<(), Failure> {
    if let Some(error) = socket.take_error()? {
        return Err(error.into());
    }
    // The kernel may pick, for this side, the very port that is connected to, where nobody
    // listens; such a connection echoes perfectly.
    let (local, peer) = (socket.local_addr()?, socket.peer_addr()?);
    match local.as_socket() == peer.as_socket() {
        true => Err(Failure::Kind(
            ErrorKind::Refused,
            "nobody listens there: the socket was connected to itself",
        )),
        false => Ok(()),
    }
}
