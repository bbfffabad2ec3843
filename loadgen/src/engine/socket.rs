//! Sockets for the engines: starting a connect, and checking its outcome.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use socket2::{Protocol, SockAddr, Socket, Type};

use super::failure::Failure;
use crate::source;
use record::{ErrorKind, Transport};

/// Starts a connect from `source`, or from an address that the kernel chooses. The socket is
/// non-blocking and becomes writable once the connect has succeeded or failed.
///
/// A UDP connect sends nothing: only the first message shows whether there is a server. A connect
/// over a Unix socket succeeds or fails at once; [`io::ErrorKind::WouldBlock`] means that the
/// server's queue of connections is full.
pub fn connect(target: &SockAddr, transport: Transport, source: Option<IpAddr>) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp if target.is_unix() => (Type::STREAM, None),
        Transport::Tcp => (Type::STREAM, Some(Protocol::TCP)),
        Transport::Udp => (Type::DGRAM, Some(Protocol::UDP)),
    };
    let socket = Socket::new(target.domain(), kind.nonblocking(), protocol)?;
    if protocol == Some(Protocol::TCP) {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(address) = source {
        source::bind(&socket, address)?;
    }
    match socket.connect(target) {
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
    // a socket is connected to itself and echoes perfectly. Unix sockets have no ports.
    let (local, peer) = (socket.local_addr()?, socket.peer_addr()?);
    match local.as_socket().is_some() && local.as_socket() == peer.as_socket() {
        true => Err(Failure::Detected(
            ErrorKind::Refused,
            "no server listens there: the socket was connected to itself".into(),
        )),
        false => Ok(()),
    }
}
