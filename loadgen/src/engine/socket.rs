//! Sockets for the engines: starting a connect, and checking its outcome.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::failure::Failure;
use crate::source;
use record::{ErrorKind, Transport};

/// Starts a connect from `source`, or from an address that the kernel chooses. The socket is
/// non-blocking and becomes writable once the connect has succeeded or failed.
///
/// A UDP connect sends nothing: only the first message shows whether there is a server.
pub fn connect(target: SocketAddr, transport: Transport, source: Option<IpAddr>) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(target), kind.nonblocking(), Some(protocol))?;
    if transport == Transport::Tcp {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(address) = source {
        source::bind(&socket, address)?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket),
    }
}

/// The outcome of a connect that has ended.
pub fn outcome(socket: &Socket) -> Result<(), Failure> {
    if let Some(error) = socket.take_error()? {
        return Err(error.into());
    }
    // The kernel may choose the target port as the local port when nothing listens there; such
    // a socket is connected to itself and echoes perfectly.
    let (local, peer) = (socket.local_addr()?, socket.peer_addr()?);
    match local.as_socket() == peer.as_socket() {
        true => Err(Failure::Detected(
            ErrorKind::Refused,
            "no server listens there: the socket was connected to itself".into(),
        )),
        false => Ok(()),
    }
}
