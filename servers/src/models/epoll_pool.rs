//! # `epoll-pool`: a reactor, and threads that do what is ready
//!
//! What it is: half synchronous, half asynchronous. One thread waits for all sockets and
//! does nothing else; what is ready goes through a queue to a few threads. EPOLLONESHOT
//! reports a connection once and then not until it is armed again, so that no two threads
//! have the same one. A thread keeps a connection for one read: a thousand are served by
//! two.
//!
//! The loop:
//! 1. the reactor waits until the listener or an armed connection is ready;
//! 2. the listener: accept all that wait;
//! 3. a connection: into the queue, from which a free worker takes it;
//! 4. the worker reads once and echoes, or sends the rest of what did not fit, and arms it
//!    for what it waits for next.
//!
//! What it costs: three system calls per echo, a share of a wait, and a hand-over between
//! threads, which wakes a sleeping one: where the work is small, that is most of the price.
//!
//! When it wins: handlers that take long or block, which would make everybody wait in
//! `epoll`, and too many connections for a thread each.
//!
//! Manual pages: epoll_ctl(2) for EPOLLONESHOT, futex(7).
//!
//! Read next: `epoll-multi`.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder};

use super::epoll::{EVENTS, token};
use crate::config::{Config, Workers};
use crate::conn::{Echo, Wants};
use crate::descriptor_map::DescriptorMap;
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::stop;
use crate::sys::epoll::{Epoll, Event, Flags};

pub struct EpollPool;

impl Model for EpollPool {
    fn name(&self) -> &'static str {
        "epoll-pool"
    }

    fn family(&self) -> Family {
        Family::Readiness
    }

    fn summary(&self) -> &'static str {
        "a reactor that hands ready connections to a few threads"
    }

    fn workers(&self) -> Workers {
        Workers::Shared
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.set_nonblocking()?;
        let (queue, ready) = channel();
        let ready = Mutex::new(ready);
        let server = Server {
            epoll: Epoll::new()?,
            listener: &listener,
            open: AtomicUsize::new(0),
            config,
        };
        thread::scope(|scope| {
            for _ in 0..self.workers().count(config) {
                Builder::new().spawn_scoped(scope, || server.work(&ready))?;
            }
            listener.announce()?;
            server.react(queue)
        })
    }
}

/// A connection, until it is closed.
type Slot = Arc<Mutex<Option<Echo>>>;

/// What the reactor and the workers share.
struct Server<'a> {
    epoll: Epoll,
    listener: &'a Listener,
    open: AtomicUsize,
    config: &'a Config,
}

impl Server<'_> {
    /// Consumes the queue, so that the workers end when this has ended for any reason.
    fn react(&self, queue: Sender<Slot>) -> io::Result<()> {
        let listener = self.listener;
        let mut events = vec![Event::empty(); EVENTS];
        let mut connections = DescriptorMap::default();
        let mut listening = Listening::Yes;
        self.epoll.add(listener, once(Flags::EPOLLIN), token(listener))?;
        while !listening.is_over(self.open.load(SeqCst)) {
            let count = self.epoll.wait(&mut events, listening.timeout())?;
            let mut knocked = false;
            for event in &events[..count] {
                if event.data() == token(listener) {
                    knocked = true;
                } else if let Some(slot) = connections.find(event.data() as RawFd) {
                    queue.send(Arc::clone(slot)).map_err(io::Error::other)?;
                }
            }
            if listening.accepts(knocked) {
                listening = readiness::accept_all(listener, |stream| {
                    if listener.admits(self.open.load(SeqCst)) {
                        self.insert(&mut connections, stream);
                    }
                })?;
                if listening == Listening::Yes {
                    self.arm(listener, Flags::EPOLLIN)?;
                }
            }
        }
        Ok(())
    }

    fn insert(&self, connections: &mut DescriptorMap<Slot>, stream: TcpStream) {
        if let Err(error) = self.epoll.add(&stream, once(Flags::EPOLLIN), token(&stream)) {
            self.listener.turned_away("cannot watch a connection", &error);
            return;
        }
        self.open.fetch_add(1, SeqCst);
        let fd = stream.as_raw_fd();
        // In the place of one that had the number before: a worker has closed it.
        connections.insert(fd, Arc::new(Mutex::new(Some(Echo::new(stream)))));
    }

    fn work(&self, ready: &Mutex<Receiver<Slot>>) {
        let mut scratch = vec![0; self.config.buffer];
        loop {
            // The lock is held while waiting: the others wait for the lock instead.
            let next = ready.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(slot) = next else { return };
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(echo) = slot.as_mut() else { continue };
            if !self.advance(echo, &mut scratch) {
                *slot = None;
                self.closed();
            }
        }
    }

    /// Does what is ready and arms the connection again, unless it is over.
    fn advance(&self, echo: &mut Echo, scratch: &mut [u8]) -> bool {
        if stop::is_overdue() {
            return false;
        }
        let wants = match echo.advance(scratch, self.config.work) {
            Wants::Read => Flags::EPOLLIN,
            Wants::Write => Flags::EPOLLOUT,
            Wants::Close => return false,
        };
        self.arm(echo.stream(), wants).is_ok()
    }

    /// Lets the reactor see after a stop that this was the last: the listener, which has
    /// been shut down, is ready as soon as it is armed.
    fn closed(&self) {
        if self.open.fetch_sub(1, SeqCst) == 1 && stop::requested() {
            // If it fails, the reactor waits until the drain time is over.
            let _ = self.arm(self.listener, Flags::EPOLLIN);
        }
    }

    fn arm(&self, socket: &impl AsFd, wants: Flags) -> io::Result<()> {
        self.epoll.modify(socket, once(wants), token(socket))
    }
}

fn once(wants: Flags) -> Flags {
    wants | Flags::EPOLLONESHOT
}
