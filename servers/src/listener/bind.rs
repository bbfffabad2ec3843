//! Binding: creates the socket, sets its options, and explains a bind that fails.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, anyhow};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::address::Address;

/// Unanswered probes after which a peer counts as gone: one or two may get lost. The
/// kernel's default of nine, 75 s apart, takes eleven minutes however short the idle time.
pub const KEEPALIVE_PROBES: u32 = 3;

/// Receive buffer of a datagram server in bytes: room for one small datagram, which
/// counts as nearly 1 KiB with its overhead, from each of several thousand clients.
const DATAGRAM_QUEUE: usize = 4 << 20;

/// Options of a listener.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub address: Address,
    /// Connections that the kernel may queue until the server accepts them.
    pub backlog: i32,
    /// TCP: idle time before the kernel probes the peer, and the interval between probes. The
    /// connection ends after [`KEEPALIVE_PROBES`] unanswered ones.
    pub keepalive: Option<Duration>,
    /// TCP: time after which the kernel ends a connection whose peer takes no output.
    pub write_deadline: Option<Duration>,
    /// TCP: send small writes at once (TCP_NODELAY).
    pub nodelay: bool,
    /// Maximum of open connections; the server closes any further one after accepting it.
    pub max_connections: Option<usize>,
}

/// Whether several listeners may share an address (SO_REUSEPORT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReusePort {
    /// This socket alone has the address.
    No,
    /// It joins a socket that permits sharing.
    Yes,
}

/// Binds a TCP socket and listens.
pub(super) fn stream(
    address: SocketAddr,
    options: &Options,
    reuse_port: ReusePort,
) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port == ReusePort::Yes)?;
    // Accepted sockets inherit these options, so they cost no call per connection.
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(idle) = options.keepalive {
        let probes = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(idle)
            .with_retries(KEEPALIVE_PROBES);
        socket.set_tcp_keepalive(&probes)?;
    }
    // The kernel itself ends the connection and wakes the model with the error, so no
    // model needs a timer.
    socket.set_tcp_user_timeout(options.write_deadline)?;
    bind(&socket, address)?;
    socket
        .listen(options.backlog)
        .with_context(|| format!("cannot listen on {address}"))?;
    Ok(socket.into())
}

/// Binds a UDP socket.
///
/// The type is that of a TCP listener, which only owns the descriptor here.
pub(super) fn datagram(address: SocketAddr) -> anyhow::Result<TcpListener> {
    // Without SO_REUSEADDR: on UDP it allows sharing, as SO_REUSEPORT does on TCP, and no
    // old connection can hold the port.
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel drops datagrams that do not fit, and caps the size at net.core.rmem_max.
    socket.set_recv_buffer_size(DATAGRAM_QUEUE)?;
    bind(&socket, address)?;
    Ok(socket.into())
}

/// Warns on standard error if other hosts can reach the address.
pub(super) fn warn_if_exposed(address: SocketAddr) {
    if !address.ip().is_loopback() {
        complain!("echo-server: listening on {address}: any host that can reach it can use the server");
    }
}

fn bind(socket: &Socket, address: SocketAddr) -> anyhow::Result<()> {
    let result = socket.bind(&address.into());
    result.map_err(|error| explain(address, &error))
}

fn explain(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{address} is in use: stop the program that uses it, or choose another --listen (port 0 picks a free one)"
        ),
        ErrorKind::AddrNotAvailable => {
            anyhow!("{address} is not an address of this host: choose another --listen, such as 127.0.0.1:0")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("no permission to bind {address}: choose a port of 1024 or above with --listen")
        }
        _ => anyhow!("cannot bind {address}: {error}"),
    }
}
