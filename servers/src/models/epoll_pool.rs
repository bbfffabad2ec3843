//! # `epoll-pool`: a reactor, and threads that serve what is ready
//!
//! What it is: half-sync/half-async. One thread, the reactor, only waits for all sockets; a
//! queue passes ready connections to a few worker threads. EPOLLONESHOT reports a connection
//! once and then disarms it, so two threads never handle the same one. A worker keeps a
//! connection for one read, so two workers can serve a thousand connections.
//!
//! The loop:
//! 1. the reactor waits until the listener or an armed connection is ready;
//! 2. the listener: accept all queued connections;
//! 3. a connection: queue it for a free worker;
//! 4. the worker reads once and echoes, or sends the unsent rest, and arms the connection for
//!    what it waits for next.
//!
//! What it costs: three system calls per echo, a share of a wait, and a hand-over that wakes a
//! sleeping thread. For small work, the hand-over is most of the price.
//!
//! When it wins: handlers that compute or block, which would delay all clients of `epoll`,
//! with too many connections for a thread each.
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

use super::epoll::{EVENTS, token};
use crate::config::{Config, Workers};
use crate::conn::{self, Echo, Wants};
use crate::descriptor_map::DescriptorMap;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::stop;
use crate::sys::epoll::{Epoll, Event, Flags};
use crate::work::Work;
use crate::workers;

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
        // Leaked: nothing else outlives the detached threads.
        let (listener, _file) = listener.leak();
        let ready: &Mutex<_> = Box::leak(Box::new(Mutex::new(ready)));
        let server: &Server = Box::leak(Box::new(Server {
            epoll: Epoll::new()?,
            listener,
            open: AtomicUsize::new(0),
            work: config.work,
        }));
        workers::start(self.workers().count(config), || {
            let scratch = conn::scratch(config.buffer)?;
            Ok(move || server.serve_ready(ready, scratch))
        })?;
        listener.announce()?;
        server.react(queue)
    }
}

/// A connection; `None` once it is closed.
type SharedEcho = Arc<Mutex<Option<Echo>>>;

/// What the reactor and the workers share.
struct Server {
    epoll: Epoll,
    listener: &'static Listener,
    open: AtomicUsize,
    work: Work,
}

impl Server {
    /// Runs the reactor. It owns the queue, so the workers end whenever it returns.
    fn react(&self, queue: Sender<SharedEcho>) -> io::Result<()> {
        let listener = self.listener;
        let mut events = vec![Event::empty(); EVENTS];
        let mut connections = DescriptorMap::default();
        let mut listening = Listening::Active;
        self.epoll.add(listener, once(Flags::EPOLLIN), token(listener))?;
        while !listening.is_over(self.open.load(SeqCst)) {
            let count = self.epoll.wait(&mut events, listening.timeout())?;
            let mut listener_ready = false;
            for event in &events[..count] {
                if event.data() == token(listener) {
                    listener_ready = true;
                } else if let Some(echo) = connections.find(event.data() as RawFd) {
                    queue.send(Arc::clone(echo)).map_err(io::Error::other)?;
                }
            }
            if listening.accepts(listener_ready) {
                listening = readiness::accept_all(listener, |stream| {
                    if listener.admits(self.open.load(SeqCst)) {
                        self.insert(&mut connections, stream);
                    }
                })?;
                if listening == Listening::Active {
                    self.arm(listener, Flags::EPOLLIN)?;
                }
            }
        }
        Ok(())
    }

    fn insert(&self, connections: &mut DescriptorMap<SharedEcho>, stream: TcpStream) {
        if let Err(error) = self.epoll.add(&stream, once(Flags::EPOLLIN), token(&stream)) {
            listener::report_rejected("cannot watch a connection", &error);
            return;
        }
        self.open.fetch_add(1, SeqCst);
        let fd = stream.as_raw_fd();
        // Replaces an earlier connection with this descriptor, which a worker has closed.
        connections.insert(fd, Arc::new(Mutex::new(Some(Echo::new(stream)))));
    }

    fn serve_ready(&self, ready: &Mutex<Receiver<SharedEcho>>, mut scratch: Vec<u8>) {
        loop {
            // Holds the lock while it waits: the other workers wait for the lock.
            let next = ready.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(shared) = next else { return };
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(echo) = shared.as_mut() else { continue };
            if !self.advance(echo, &mut scratch) {
                *shared = None;
                self.closed();
            }
        }
    }

    /// Serves a ready connection and arms it again; `false` if the connection must close.
    fn advance(&self, echo: &mut Echo, scratch: &mut [u8]) -> bool {
        if stop::drain_is_over() {
            return false;
        }
        let wants = match echo.advance(scratch, self.work) {
            Wants::Read => Flags::EPOLLIN,
            Wants::Write => Flags::EPOLLOUT,
            Wants::Close => return false,
        };
        self.arm(echo.stream(), wants).is_ok()
    }

    /// Counts a closed connection. After a stop, the last one wakes the reactor: the shut-down
    /// listener is ready as soon as it is armed.
    fn closed(&self) {
        if self.open.fetch_sub(1, SeqCst) == 1 && stop::requested() {
            // On failure, the reactor waits until the drain time is over.
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
