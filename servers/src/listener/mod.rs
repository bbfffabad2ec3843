//! The listening socket that every model gets, and what `accept` may answer.
//!
//! The errors of `accept` are the connection's, the process's or the socket's own, and
//! each asks for something else: go on, back off, or end. That is decided here, once.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Once;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::stop;
use crate::sys::shared;
use crate::sys::socket::{self, Blocking};

/// How long to leave `accept` alone once descriptors or memory have run out: a loop
/// that tries on burns a processor, and a client hardly notices ten milliseconds.
pub const BACK_OFF: Duration = Duration::from_millis(10);

/// So many probes that are not answered tell that a peer is gone: one may be lost, or two.
/// The kernel's own nine, 75 s apart, would take eleven minutes however short the idle time.
pub const KEEPALIVE_PROBES: u32 = 3;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Connections, which carry streams of bytes: TCP.
    Stream,
    /// Messages on their own: UDP.
    Datagram,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Transport::Stream => "tcp",
            Transport::Datagram => "udp",
        })
    }
}

/// Bytes that the kernel may queue for a datagram server: one small datagram, which counts
/// with its overhead for nearly 1 KiB, from each of some thousand clients.
const DATAGRAM_QUEUE: usize = 4 << 20;

/// What the listener is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address and port; port 0 picks a free one.
    pub address: SocketAddr,
    /// Connections that the kernel may hold until they are accepted.
    pub backlog: i32,
    /// Idle time after which the kernel probes whether the peer is still there, and the time
    /// between its probes, of which [`KEEPALIVE_PROBES`] go unanswered until it is gone.
    pub keepalive: Option<Duration>,
    /// Time after which a client that takes none of its output is cut off.
    pub write_deadline: Option<Duration>,
    /// Send at once instead of gathering small writes (TCP_NODELAY).
    pub nodelay: bool,
    /// Most connections at once; those beyond are closed as soon as they are accepted.
    pub max_connections: Option<usize>,
}

/// A bound socket, which listens where its transport has connections.
#[derive(Debug)]
pub struct Listener {
    /// Owns the descriptor; typed as what it is for all models but those of datagrams.
    socket: TcpListener,
    options: Options,
    /// Whether anybody has said that the limit is reached: a number that workers share,
    /// also where they are processes.
    limit_said: &'static [AtomicU32],
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
        // It says so before it looks at the listener, and would never come to EINVAL.
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) if stop::requested() => Remedy::Stop,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                eprintln!("echo-server: {error}: nobody is accepted until something is free (said once)");
            });
            Remedy::BackOff
        }
        // What `accept` says of a listener that the stop signal has shut down.
        Some(libc::EINVAL) if stop::is_told_by_listener() => Remedy::Stop,
        _ => Remedy::GiveUp,
    }
}

impl Listener {
    /// Binds, and listens for connections.
    pub fn bind(options: &Options) -> anyhow::Result<Self> {
        // Not shared: two servers would have the same port and neither hear of it.
        let listener = Self::open(options, false)?;
        say_who_reaches(options.address);
        Ok(listener)
    }

    /// Another listener on the same address; the kernel spreads new connections over all.
    ///
    /// SO_REUSEPORT is set on this one only now that it is bound. Whoever binds must have
    /// set it before, so another server still finds the address in use.
    pub fn join(&self) -> anyhow::Result<Self> {
        SockRef::from(&self.socket).set_reuse_port(true)?;
        let options = Options {
            address: self.address()?,
            ..self.options.clone()
        };
        Ok(Listener {
            limit_said: self.limit_said,
            ..Self::open(&options, true)?
        })
    }

    fn open(options: &Options, shared: bool) -> anyhow::Result<Self> {
        let address = options.address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        // All of them are inherited by what is accepted, so they cost no call per connection.
        socket.set_tcp_nodelay(options.nodelay)?;
        if let Some(idle) = options.keepalive {
            let probes = TcpKeepalive::new()
                .with_time(idle)
                .with_interval(idle)
                .with_retries(KEEPALIVE_PROBES);
            socket.set_tcp_keepalive(&probes)?;
        }
        // The kernel then breaks the connection off itself. Whatever a model waits in is told of
        // the error, so that none needs a timer.
        socket.set_tcp_user_timeout(options.write_deadline)?;
        bind(&socket, address)?;
        socket
            .listen(options.backlog)
            .with_context(|| format!("cannot listen on {address}"))?;
        Ok(Listener {
            socket: socket.into(),
            options: options.clone(),
            limit_said: shared::numbers(1)?,
        })
    }

    /// Binds a socket for datagrams, which a model receives from through its descriptor:
    /// there is nothing to accept, and no connection that an option could be for.
    pub fn bind_datagram(address: SocketAddr) -> anyhow::Result<Self> {
        // Not SO_REUSEADDR: for UDP it is what SO_REUSEPORT is for TCP, and no old
        // connection ever holds the port.
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // The kernel drops what the queue has no room for, and takes at most
        // net.core.rmem_max of what is asked here.
        socket.set_recv_buffer_size(DATAGRAM_QUEUE)?;
        bind(&socket, address)?;
        say_who_reaches(address);
        let options = Options {
            address,
            backlog: 0,
            keepalive: None,
            write_deadline: None,
            nodelay: false,
            max_connections: None,
        };
        Ok(Listener {
            socket: socket.into(),
            options,
            limit_said: shared::numbers(1)?,
        })
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
            let error = match socket::accept4(self.as_fd(), Blocking::Yes) {
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
        socket::accept4(self.as_fd(), Blocking::No)
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
        let Some(most) = self.options.max_connections else {
            return true;
        };
        if open >= most && self.limit_said[0].swap(1, SeqCst) == 0 {
            eprintln!(
                "echo-server: {most} connections are open (--max-connections): more are closed at once"
            );
        }
        open < most
    }

    /// The same where several loops accept, which share the count of what is `open`: one
    /// more is counted if it may be kept.
    pub fn counts_in(&self, open: &AtomicUsize) -> bool {
        // Counted first, so that two loops cannot both take the last place.
        let admitted = self.admits(open.fetch_add(1, Relaxed));
        if !admitted {
            open.fetch_sub(1, Relaxed);
        }
        admitted
    }

    /// The most connections at once, where there is a limit.
    pub fn max_connections(&self) -> Option<usize> {
        self.options.max_connections
    }

    /// Says that a client could not be served for want of something on this side; its
    /// connection has been dropped, which closes it.
    pub fn turned_away(&self, what: &str, error: &io::Error) {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            eprintln!("echo-server: {what}: {error}: clients are turned away (said once)");
        });
    }

    /// Says, once, that more clients are `open` than the `workers` serve.
    pub fn say_who_waits(&self, open: usize, workers: usize) {
        static SAID: Once = Once::new();
        if open > workers {
            SAID.call_once(|| {
                eprintln!(
                    "echo-server: all {workers} workers are busy: connection {open} is open but waits \
                     until one of the others ends (--workers sets their number)"
                );
            });
        }
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

fn bind(socket: &Socket, address: SocketAddr) -> anyhow::Result<()> {
    let result = socket.bind(&address.into());
    result.map_err(|error| bind_advice(address, &error))
}

fn say_who_reaches(address: SocketAddr) {
    if !address.ip().is_loopback() {
        eprintln!("echo-server: listening on {address}: whoever reaches this host can use the server");
    }
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
    fn what_is_accepted_is_probed_after_the_idle_time_and_after_each_one_more() {
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
