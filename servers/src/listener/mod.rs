//! The listening socket that every model gets.
//!
//! [`address`] says where, [`bind`] creates it, [`accept`] decides about errors, [`limits`]
//! rejects clients.

pub mod accept;
pub mod address;
pub mod bind;
pub mod limits;
mod transport;
mod unix;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use socket2::SockRef;

use crate::sys::socket::{self, Blocking};

pub use accept::{BACK_OFF, Remedy, remedy};
pub use address::Address;
pub use bind::{KEEPALIVE_PROBES, Options};
pub use limits::{report_rejected, report_waiting};
pub use transport::Transport;

use bind::ReusePort;
use limits::Limit;
use unix::SocketFile;

/// A bound socket. It listens if its transport has connections.
#[derive(Debug)]
pub struct Listener {
    /// The file of a Unix socket. The first field, since it must be dropped before the socket.
    file: Option<Arc<SocketFile>>,
    /// Owns the descriptor, also that of a Unix or a datagram socket.
    socket: TcpListener,
    options: Options,
    limit: Limit,
}

/// Removes the file of a Unix socket, if there is one, when it is dropped.
#[derive(Debug)]
pub struct FileGuard {
    _file: Option<Arc<SocketFile>>,
}

impl Listener {
    /// Binds a TCP or Unix socket and listens.
    pub fn bind(options: &Options) -> anyhow::Result<Self> {
        let (socket, file) = match &options.address {
            &Address::Internet(address) => {
                // Not shared: two servers would get the same port without an error.
                let socket = bind::stream(address, options, ReusePort::No)?;
                bind::warn_if_exposed(address);
                (socket, None)
            }
            Address::Unix(path) => {
                let (socket, file) = unix::bind(path, options.backlog)?;
                (socket, Some(Arc::new(file)))
            }
        };
        Ok(Listener {
            file,
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
            address: address.into(),
            backlog: 0,
            keepalive: None,
            write_deadline: None,
            nodelay: false,
            max_connections: None,
        };
        Ok(Listener {
            file: None,
            socket,
            options,
            limit: Limit::new(None)?,
        })
    }

    /// Another listener on the same address; the kernel spreads new connections over all of
    /// them. Over a Unix socket, whose path belongs to one socket, they share that one and its
    /// queue.
    ///
    /// Sets SO_REUSEPORT on this listener only now that it is bound. A socket must set it
    /// before it binds, so another server still finds the address in use.
    pub fn join(&self) -> anyhow::Result<Self> {
        let socket = match self.address()? {
            Address::Internet(address) => {
                SockRef::from(&self.socket).set_reuse_port(true)?;
                bind::stream(address, &self.options, ReusePort::Yes)?
            }
            Address::Unix(_) => self.socket.try_clone()?,
        };
        Ok(Listener {
            file: self.file.clone(),
            socket,
            options: self.options.clone(),
            limit: self.limit,
        })
    }

    /// A listener that is never dropped, for threads that nothing waits for. When the second value is
    /// dropped, the file of a Unix socket is removed.
    pub fn leak(mut self) -> (&'static Self, FileGuard) {
        let guard = FileGuard {
            _file: self.file.take(),
        };
        (Box::leak(Box::new(self)), guard)
    }

    /// The bound address, with the port that the kernel picked.
    pub fn address(&self) -> io::Result<Address> {
        Ok(match &self.options.address {
            Address::Internet(_) => self.socket.local_addr()?.into(),
            unix => unix.clone(),
        })
    }

    /// Whether it is a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.options.address.is_unix()
    }

    /// Prints the ready line on standard output: the server now answers connections.
    pub fn announce(&self) -> io::Result<()> {
        let line = [b"ready ", self.address()?.text().as_bytes(), b"\n"].concat();
        let mut out = io::stdout().lock();
        let printed = out.write_all(&line).and_then(|()| out.flush());
        printed.map_err(|error| {
            let message = format!("cannot print the ready line on standard output: {error}");
            io::Error::new(error.kind(), message)
        })
    }

    /// Waits for a connection; `None` when the server must stop. A connection over a Unix
    /// socket has the type of one over TCP: the calls are the same.
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
            address: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            backlog: 1,
            keepalive: Some(idle),
            write_deadline: None,
            nodelay: true,
            max_connections: None,
        })
        .unwrap();
        let _client = TcpStream::connect(listener.socket().local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), idle);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
    }
}
