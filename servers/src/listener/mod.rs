//! The listening socket that every model gets.
//!
//! [`bind`] creates it, [`accept`] decides about errors, [`limits`] rejects clients.

pub mod accept;
pub mod bind;
pub mod limits;
mod transport;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicUsize;

use socket2::SockRef;

use crate::sys::socket::{self, Blocking};

pub use accept::{BACK_OFF, Remedy, remedy};
pub use bind::{KEEPALIVE_PROBES, Options, resolve};
pub use limits::{report_rejected, report_waiting};
pub use transport::Transport;

use bind::ReusePort;
use limits::Limit;

/// A bound socket. It listens if its transport has connections.
#[derive(Debug)]
pub struct Listener {
    /// Owns the descriptor, also that of a datagram socket.
    socket: TcpListener,
    options: Options,
    limit: Limit,
}

impl Listener {
    /// Binds a TCP socket and listens.
    pub fn bind(options: &Options) -> anyhow::Result<Self> {
        // Not shared: two servers would get the same port without an error.
        let socket = bind::stream(options, ReusePort::No)?;
        bind::warn_if_exposed(options.address);
        Ok(Listener {
            socket,
            options: options.clone(),
            limit: Limit::new(options.max_connections)?,
        })
    }

    /// Binds a UDP socket. The model receives through its descriptor; there are no
    /// connections to accept or to set options for.
    pub fn bind_datagram(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = bind::datagram(address)?;
        bind::warn_if_exposed(address);
        let options = Options {
            address,
            backlog: 0,
            keepalive: None,
            write_deadline: None,
            nodelay: false,
            max_connections: None,
        };
        Ok(Listener {
            socket,
            options,
            limit: Limit::new(None)?,
        })
    }

    /// Binds another listener to the same address; the kernel spreads new connections
    /// over all of them.
    ///
    /// Sets SO_REUSEPORT on this listener only now that it is bound. A socket must set it
    /// before it binds, so another server still finds the address in use.
    pub fn join(&self) -> anyhow::Result<Self> {
        SockRef::from(&self.socket).set_reuse_port(true)?;
        let options = Options {
            address: self.address()?,
            ..self.options.clone()
        };
        Ok(Listener {
            socket: bind::stream(&options, ReusePort::Yes)?,
            options,
            limit: self.limit,
        })
    }

    /// The bound address, with the port that the kernel picked.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Prints the ready line on standard output: the server now answers connections.
    pub fn announce(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "ready {}", self.address()?)?;
        out.flush()
    }

    /// Waits for a connection; `None` when the server must stop.
    pub fn accept(&self) -> io::Result<Option<TcpStream>> {
        accept::accept(self.as_fd())
    }

    /// Takes a connection from a nonblocking listener; the connection is nonblocking too.
    /// [`remedy`] handles the error.
    pub fn try_accept(&self) -> io::Result<TcpStream> {
        socket::accept4(self.as_fd(), Blocking::No)
    }

    /// Makes `accept` return EAGAIN instead of waiting.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Whether the limit permits one connection more than `open`.
    ///
    /// The model drops a connection that is not admitted, so its client sees the end of
    /// the stream at once instead of waiting.
    pub fn admits(&self, open: usize) -> bool {
        self.limit.admits(open)
    }

    /// Like [`Listener::admits`], for event loops that share a counter of open
    /// connections: adds an admitted connection to it.
    pub fn try_add(&self, open: &AtomicUsize) -> bool {
        self.limit.try_add(open)
    }

    /// The maximum of open connections, if there is one.
    pub fn max_connections(&self) -> Option<usize> {
        self.limit.max_connections()
    }

    /// The plain socket, for a runtime that has its own `accept`.
    pub fn socket(&self) -> &TcpListener {
        &self.socket
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_accepted_socket_inherits_the_keepalive_options() {
        let idle = Duration::from_secs(7);
        let listener = Listener::bind(&Options {
            address: ([127, 0, 0, 1], 0).into(),
            backlog: 1,
            keepalive: Some(idle),
            write_deadline: None,
            nodelay: true,
            max_connections: None,
        })
        .unwrap();
        let _client = TcpStream::connect(listener.address().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), idle);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
    }
}
