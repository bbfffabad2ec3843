//! Connection attempts that are not waited for, and refused ones.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::client::{Client, explain, uninterrupted};
use super::wait::STALL;

/// A connection attempt in progress.
#[derive(Debug)]
pub struct Connecting {
    socket: Socket,
    address: SocketAddr,
}

impl Connecting {
    /// Sends a SYN. Over loopback the kernel has queued the connection at the listener, or has
    /// dropped the SYN, when this returns; it sends the SYN again after a second.
    pub fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                Err(error).with_context(|| format!("cannot connect to {address}"))
            }
            _ => Ok(Connecting { socket, address }),
        }
    }

    /// Whether the kernel of the server has answered.
    pub fn is_connected(&self) -> bool {
        self.socket.peer_addr().is_ok()
    }

    /// Waits for the answer; every call, including this one, waits for at most `timeout`.
    pub fn wait(self, timeout: Duration) -> anyhow::Result<Client> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_write_timeout(Some(timeout))?;
        // A second call waits for the attempt of the first.
        let connected = uninterrupted(|| self.socket.connect(&self.address.into()));
        connected.map_err(|error| {
            let stalled = format!("no connection to {} within {timeout:?}", self.address);
            explain(error, &stalled)
        })?;
        Client::over(self.socket, timeout)
    }
}

/// Whether the address refuses connections.
pub fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&address, STALL) {
        // Without a listener a socket can connect to itself: the kernel may pick the same port
        // as the source port.
        Ok(stream) => stream.local_addr().is_ok_and(|local| local == address),
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}
