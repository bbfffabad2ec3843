//! # `epoll`: one thread, told what is ready
//!
//! What it is: an event loop. The only call that blocks waits for all sockets at once. The
//! kernel keeps the list of ready sockets, so a thousand idle connections cost nothing per
//! iteration. Level-triggered: the kernel reports unfinished input again.
//!
//! The loop:
//! 1. wait until the listener or a connection is ready;
//! 2. the listener: accept all queued connections;
//! 3. a connection: read once and echo, or send the unsent rest;
//! 4. register what the connection waits for next.
//!
//! What it costs: two system calls per echo, and one wait shared by all events that arrived in
//! the meantime: the higher the load, the smaller the share. A slow handler delays all clients.
//!
//! When it wins: many connections, most of them idle, with short handlers.
//!
//! Manual pages: epoll(7), epoll_ctl(2), epoll_wait(2), socket(7).
//!
//! Read next: `epoll-et`.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::config::Config;
use crate::conn::{Echo, Wants};
use crate::descriptor_map::DescriptorMap;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::sys::epoll::{self, Event, Flags};

pub struct Epoll;

/// What to watch a listener for. One that several loops share, as over a Unix socket, wakes one
/// of them for a connection.
const LISTEN: Flags = Flags::EPOLLIN.union(Flags::EPOLLEXCLUSIVE);

/// Events per wait: up to this many echoes share one system call.
pub(super) const EVENTS: usize = 1024;

impl Model for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn family(&self) -> Family {
        Family::Readiness
    }

    fn summary(&self) -> &'static str {
        "one thread on level-triggered epoll"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let mut server = Loop::new(&listener, Arc::default())?;
        listener.announce()?;
        server.run(&listener, config)
    }
}

pub(super) struct Loop {
    epoll: epoll::Epoll,
    connections: DescriptorMap<Connection>,
    /// Open connections of all loops of the server.
    open: Arc<AtomicUsize>,
}

struct Connection {
    echo: Echo,
    watched: Wants,
}

impl Loop {
    pub(super) fn new(listener: &Listener, open: Arc<AtomicUsize>) -> io::Result<Self> {
        listener.set_nonblocking()?;
        let epoll = epoll::Epoll::new()?;
        epoll.add(listener, LISTEN, token(listener))?;
        Ok(Loop {
            epoll,
            connections: DescriptorMap::default(),
            open,
        })
    }

    pub(super) fn run(&mut self, listener: &Listener, config: &Config) -> io::Result<()> {
        let mut events = vec![Event::empty(); EVENTS];
        let mut scratch = vec![0; config.buffer];
        let mut listening = Listening::Active;
        while !listening.is_over(self.connections.count()) {
            let count = self.epoll.wait(&mut events, listening.timeout())?;
            if listening != Listening::Active && listening.is_due() {
                self.epoll.add(listener, LISTEN, token(listener))?;
                listening = Listening::Active;
            }
            for event in &events[..count] {
                if event.data() == token(listener) {
                    listening = self.accept(listener)?;
                } else {
                    self.advance(event.data() as RawFd, &mut scratch, config)?;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<Listening> {
        let listening = readiness::accept_all(listener, |stream| {
            if listener.try_add(&self.open)
                && let Err(error) = self.insert(stream)
            {
                self.open.fetch_sub(1, Relaxed);
                listener::report_rejected("cannot watch a connection", &error);
            }
        })?;
        if listening != Listening::Active {
            self.epoll.delete(listener)?;
        }
        Ok(listening)
    }

    fn insert(&mut self, stream: TcpStream) -> io::Result<()> {
        let fd = stream.as_raw_fd();
        self.epoll.add(&stream, Flags::EPOLLIN, token(&stream))?;
        let connection = Connection {
            echo: Echo::new(stream),
            watched: Wants::Read,
        };
        self.connections.insert(fd, connection);
        Ok(())
    }

    fn advance(&mut self, fd: RawFd, scratch: &mut [u8], config: &Config) -> io::Result<()> {
        let Some(connection) = self.connections.find(fd) else {
            return Ok(());
        };
        let wants = connection.echo.advance(scratch, config.work);
        if wants == connection.watched {
            return Ok(());
        }
        connection.watched = wants;
        let flags = match wants {
            Wants::Read => Flags::EPOLLIN,
            Wants::Write => Flags::EPOLLOUT,
            Wants::Close => {
                // Closing the socket also removes it from epoll.
                self.connections.remove(fd);
                self.open.fetch_sub(1, Relaxed);
                return Ok(());
            }
        };
        let stream = connection.echo.stream();
        self.epoll.modify(stream, flags, token(stream))
    }
}

pub(super) fn token(socket: &impl AsFd) -> u64 {
    socket.as_fd().as_raw_fd() as u64
}
