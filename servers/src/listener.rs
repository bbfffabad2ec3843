//! The listening socket that every model gets, and what `accept` may answer.
//!
//! The errors of `accept` are the connection's, the process's or the socket's own, and
//! each asks for something else: go on, back off, or end. That is decided here, once.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::stop;
use crate::sys::{self, socket::Blocking};

/// How long to leave `accept` alone once descriptors or memory have run out: a loop
/// that tries on burns a processor, and a client hardly notices ten milliseconds.
pub const BACK_OFF: Duration = Duration::from_millis(10);

/// What the listener is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address and port; port 0 picks a free one.
    pub address: SocketAddr,
    /// Connections that the kernel may hold until they are accepted.
    pub backlog: i32,
    /// Idle time after which the kernel probes whether the peer is still there.
    pub keepalive: Option<Duration>,
    /// Send at once instead of gathering small writes (TCP_NODELAY).
    pub nodelay: bool,
    /// Most connections at once; those beyond are closed as soon as they are accepted.
    pub max_connections: Option<usize>,
}

/// A bound and listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Arc<TcpListener>,
    options: Options,
    /// Those that were split off this one.
    twins: Vec<Arc<TcpListener>>,
}

/// What an error of `accept` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The connection died before it was accepted: take the next one.
    Next,
    /// Nobody waits.
    Wait,
    /// Descriptors or memory have run out: back off.
    BackOff,
    /// The server is to stop.
    Stop,
    /// The socket is broken.
    GiveUp,
}

/// What to do after an error of `accept`; that resources have run out is said, once.
pub fn remedy(error: &io::Error) -> Remedy {
    match error.raw_os_error() {
        // accept(2): Linux passes pending network errors of the new socket on, and
        // they are to be treated like EAGAIN by retrying.
        Some(
            libc::ECONNABORTED
            | libc::EINTR
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::EPERM,
        ) => Remedy::Next,
        Some(libc::EAGAIN) => Remedy::Wait,
        // What `accept` says of a listener that the stop signal has shut down; it looks
        // for a descriptor first.
        Some(libc::EINVAL | libc::EMFILE | libc::ENFILE) if stop::requested() => Remedy::Stop,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                eprintln!("echo-server: {error}: nobody is accepted until something is free (said once)");
            });
            Remedy::BackOff
        }
        _ => Remedy::GiveUp,
    }
}

impl Listener {
    /// Binds and listens.
    pub fn bind(options: &Options) -> anyhow::Result<Self> {
        let address = options.address;
        let socket = socket(options)?;
        // Not SO_REUSEPORT: with it two servers share a port and neither hears of it.
        socket
            .bind(&address.into())
            .map_err(|error| bind_advice(address, &error))?;
        socket
            .listen(options.backlog)
            .with_context(|| format!("cannot listen on {address}"))?;
        if !address.ip().is_loopback() {
            eprintln!("echo-server: listening on {address}: whoever reaches this host can use the server");
        }
        Ok(Listener::new(socket, options.clone()))
    }

    fn new(socket: Socket, options: Options) -> Self {
        Listener {
            socket: Arc::new(socket.into()),
            options,
            twins: Vec::new(),
        }
    }

    /// Makes it as many listeners on the same address as there are loops: the kernel
    /// deals connections out to them.
    ///
    /// A stop reaches the first alone, whose loop passes it on by dropping it.
    pub fn split(mut self, loops: usize) -> io::Result<Vec<Listener>> {
        if loops > 1 {
            // Others of the same user may join from here on, if they ask for it too.
            SockRef::from(&*self.socket).set_reuse_port(true)?;
        }
        let options = Options {
            address: self.address()?,
            ..self.options.clone()
        };
        let mut twins = Vec::new();
        for _ in 1..loops {
            let socket = socket(&options)?;
            socket.set_reuse_port(true)?;
            socket.bind(&options.address.into())?;
            socket.listen(options.backlog)?;
            let twin = Listener::new(socket, options.clone());
            self.twins.push(Arc::clone(&twin.socket));
            twins.push(twin);
        }
        twins.insert(0, self);
        Ok(twins)
    }

    /// The address with the port that was picked.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Prints the one line on standard output: from here on connections are answered.
    pub fn announce(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "ready {}", self.address()?)?;
        out.flush()
    }

    /// Waits for a connection; `None` when the server is to stop.
    pub fn accept(&self) -> io::Result<Option<TcpStream>> {
        loop {
            let error = match sys::socket::accept4(self.as_fd(), Blocking::Yes) {
                Ok(stream) => return Ok(Some(stream)),
                Err(error) => error,
            };
            match remedy(&error) {
                Remedy::Next | Remedy::Wait => {}
                Remedy::BackOff => thread::sleep(BACK_OFF),
                Remedy::Stop => return Ok(None),
                Remedy::GiveUp => return Err(error),
            }
        }
    }

    /// Takes a connection, which does not block either, if one waits; for a listener
    /// that does not block. [`remedy`] tells what to do about an error.
    pub fn try_accept(&self) -> io::Result<TcpStream> {
        sys::socket::accept4(self.as_fd(), Blocking::No)
    }

    /// Makes `accept` return instead of waiting.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Whether one more connection may be kept beside those that are `open`.
    ///
    /// One that may not is dropped by the model: its client sees the end at once
    /// instead of waiting unserved.
    pub fn admits(&self, open: usize) -> bool {
        static SAID: Once = Once::new();
        let Some(most) = self.options.max_connections else {
            return true;
        };
        if open >= most {
            SAID.call_once(|| {
                eprintln!(
                    "echo-server: {most} connections are open (--max-connections): more are closed at once"
                );
            });
        }
        open < most
    }

    /// Says that a client could not be served for want of something on this side; its
    /// connection has been dropped, which closes it.
    pub fn turned_away(&self, what: &str, error: &io::Error) {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            eprintln!("echo-server: {what}: {error}: clients are turned away (said once)");
        });
    }

    /// The plain socket, for a runtime that has its own `accept`.
    pub fn socket(&self) -> &TcpListener {
        &self.socket
    }
}

impl Drop for Listener {
    /// Shuts down those that were split off this one: they end with it, however it ends.
    fn drop(&mut self) {
        for twin in &self.twins {
            sys::socket::shutdown(twin.as_raw_fd());
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket with the options that it passes on to what it accepts, so that they cost no
/// call per connection.
fn socket(options: &Options) -> io::Result<Socket> {
    let domain = Domain::for_address(options.address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(idle) = options.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    Ok(socket)
}

fn bind_advice(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{address} is in use: stop the program that has it, or choose another --listen (port 0 picks a free one)"
        ),
        ErrorKind::AddrNotAvailable => {
            anyhow!("{address} is not an address of this host: choose another --listen, such as 127.0.0.1:0")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("binding {address} is not permitted: choose a port from 1024 up with --listen")
        }
        _ => anyhow!("cannot bind {address}: {error}"),
    }
}

/// Looks an address up: `127.0.0.1:7007`, `[::1]:0` or `localhost:7007`.
pub fn resolve(text: &str) -> anyhow::Result<SocketAddr> {
    let form =
        || format!("`{text}` is not an address to listen on: give ADDRESS:PORT, such as 127.0.0.1:7007");
    let mut found = std::net::ToSocketAddrs::to_socket_addrs(text).with_context(form)?;
    match found.next() {
        Some(address) => Ok(address),
        None => bail!(form()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_accept_has_its_remedy() {
        let table = [
            (libc::ECONNABORTED, Remedy::Next),
            (libc::EPROTO, Remedy::Next),
            (libc::EINTR, Remedy::Next),
            (libc::EAGAIN, Remedy::Wait),
            (libc::EMFILE, Remedy::BackOff),
            (libc::ENFILE, Remedy::BackOff),
            (libc::ENOBUFS, Remedy::BackOff),
            (libc::ENOMEM, Remedy::BackOff),
            (libc::EBADF, Remedy::GiveUp),
            (libc::EINVAL, Remedy::GiveUp),
        ];
        for (errno, expected) in table {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(remedy(&error), expected, "{error}");
        }
    }
}
