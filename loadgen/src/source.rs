//! Where connections come from: more local addresses have more ports.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::Socket;

/// Binds a socket to a local address and leaves the port to connect, which needs only the pair
/// of both ends to be unique.
pub fn bind(socket: &Socket, address: IpAddr) -> io::Result<()> {
    setsockopt(socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((address, 0)).into())
}
