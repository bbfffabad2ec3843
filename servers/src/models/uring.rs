//! # `uring`: one thread, told what is done
//!
//! What it is: an event loop the other way round. It does not ask which socket is ready
//! and then reads; it hands the kernel requests in a ring in shared memory and finds
//! their results in another. One request accepts for ever (multishot), one for each
//! connection receives for ever, into whichever piece of a common pool is free.
//!
//! The loop:
//! 1. hand over what has gathered, and wait until something is done: one system call;
//! 2. accepted: ask to receive from the connection;
//! 3. received: ask to send the piece back;
//! 4. sent: give the piece back to the pool, and at the end of input close.
//!
//! What it costs: one system call for all that was done in the meantime, so well under
//! one per echo when busy, and as many as `epoll` when nearly idle. An idle connection
//! has no memory of its own; the pool grows with the number of connections. What comes
//! while something is being sent is echoed, and worked on, as one.
//!
//! When it wins: many busy connections, and wherever system calls are dear.
//!
//! Manual pages: io_uring(7), io_uring_enter(2), io_uring_register(2) for the buffer ring.
//!
//! Read next: `uring-multi`.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::config::Config;
use crate::descriptor_map::DescriptorMap;
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::readiness::Listening;
use crate::sys::uring::{Completion, Payload, Ring};

pub struct Uring;

/// A stop of receiving takes hold after up to three turns of the kernel's (98 pieces were
/// seen), each of 32 pieces (MULTISHOT_MAX_RETRY). So many and more are one `--buffer`.
const PIECES_IN_BUFFER: usize = 128;

/// Pieces to receive into, beside the one that each connection may be sending.
const FREE_PIECES: usize = 64;

impl Model for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn family(&self) -> Family {
        Family::Completion
    }

    fn summary(&self) -> &'static str {
        "one thread on io_uring: multishot accept and receive, batched submission"
    }

    fn probe(&self) -> io::Result<()> {
        Ring::probe()
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let server = Loop::new(config, Arc::default())?;
        listener.announce()?;
        server.run(&listener, config)
    }
}

pub(super) struct Loop {
    ring: Ring,
    piece: usize,
    connections: DescriptorMap<Connection>,
    /// How many are open here and in the other loops of the server, if it has any.
    open: Arc<AtomicUsize>,
}

struct Connection {
    stream: TcpStream,
    receiving: Receiving,
    sending: bool,
    /// What came while something was being sent.
    backlog: Vec<u8>,
    /// It sends more than fits into pieces, or does not read, or there was no piece: it is
    /// received from once at a time, into one buffer.
    bulk: bool,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    /// Until further notice, into pieces.
    Yes,
    /// Told to stop, which has not completed yet.
    Stopping,
    /// One time, into a buffer.
    Once,
    No,
}

impl Loop {
    pub(super) fn new(config: &Config, open: Arc<AtomicUsize>) -> io::Result<Self> {
        let piece = config.buffer.div_ceil(PIECES_IN_BUFFER);
        Ok(Loop {
            ring: Ring::new(piece)?,
            piece,
            connections: DescriptorMap::default(),
            open,
        })
    }

    pub(super) fn run(mut self, listener: &Listener, config: &Config) -> io::Result<()> {
        let mut listening = Listening::Yes;
        self.ring.take_over()?;
        self.ring.accept(listener.as_fd());
        while !listening.is_over(self.connections.count()) {
            self.ring.wait(listening.timeout())?;
            if listening != Listening::Yes && listening.is_due() {
                self.ring.accept(listener.as_fd());
                listening = Listening::Yes;
            }
            while let Some(completion) = self.ring.completed() {
                match completion {
                    Completion::Accepted { result, more } => {
                        listening = self.accepted(listener, result, more)?;
                    }
                    Completion::Received { stream, result, more } => {
                        self.received(stream, result, more, config)
                    }
                    Completion::NotStopped { stream } => self.stop_again(stream),
                    Completion::Sent { stream, result } => self.sent(stream, result, config),
                }
            }
        }
        Ok(())
    }

    fn accepted(
        &mut self,
        listener: &Listener,
        result: io::Result<TcpStream>,
        more: bool,
    ) -> io::Result<Listening> {
        let listening = match result {
            Ok(stream) => {
                if listener.counts_in(&self.open) {
                    self.insert(stream);
                }
                Listening::Yes
            }
            Err(error) => Listening::after(error)?,
        };
        if !more && listening == Listening::Yes {
            self.ring.accept(listener.as_fd());
        }
        Ok(listening)
    }

    fn insert(&mut self, stream: TcpStream) {
        let fd = stream.as_raw_fd();
        self.ring.receive(&stream);
        let connection = Connection {
            stream,
            receiving: Receiving::Yes,
            sending: false,
            backlog: Vec::new(),
            bulk: false,
            ended: false,
        };
        self.connections.insert(fd, connection);
        self.ring.offer(self.connections.count() + FREE_PIECES);
    }

    fn received(&mut self, fd: RawFd, result: io::Result<Option<Payload>>, more: bool, config: &Config) {
        let Some(connection) = self.connections.find(fd) else {
            return;
        };
        let once = connection.receiving == Receiving::Once;
        if !more {
            connection.receiving = Receiving::No;
        }
        match result {
            Ok(Some(payload)) => {
                let bytes = self.ring.bytes(&payload);
                if once {
                    connection.bulk = bytes.len() > self.piece;
                }
                if connection.sending {
                    // One send at a time: two could overtake each other.
                    connection.backlog.extend_from_slice(bytes);
                    self.ring.recycle(payload);
                } else {
                    config.work.perform();
                    connection.sending = true;
                    self.ring.send(&connection.stream, payload);
                }
            }
            // It was told to stop.
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
            // The pool was empty, and may be for a while.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => connection.bulk = true,
            Ok(None) | Err(_) => connection.ended = true,
        }
        self.go_on(fd, config);
    }

    fn sent(&mut self, fd: RawFd, result: io::Result<Option<Payload>>, config: &Config) {
        let Some(connection) = self.connections.find(fd) else {
            return;
        };
        connection.sending = false;
        let next = match result {
            Ok(Some(rest)) => Some(rest),
            Ok(None) if connection.backlog.is_empty() => None,
            Ok(None) => {
                config.work.perform();
                Some(std::mem::take(&mut connection.backlog).into())
            }
            Err(_) => {
                connection.ended = true;
                connection.backlog.clear();
                None
            }
        };
        if let Some(payload) = next {
            connection.sending = true;
            self.ring.send(&connection.stream, payload);
        }
        self.go_on(fd, config);
    }

    /// Receives only while nothing is left to send but the last piece, and closes once
    /// nothing is left at all.
    fn go_on(&mut self, fd: RawFd, config: &Config) {
        let Some(connection) = self.connections.find(fd) else {
            return;
        };
        let behind = !connection.backlog.is_empty();
        match connection.receiving {
            Receiving::Yes if behind || connection.ended => {
                connection.bulk = true;
                connection.receiving = Receiving::Stopping;
                self.ring.stop_receiving(&connection.stream);
            }
            Receiving::No if !connection.sending && connection.ended => {
                self.connections.remove(fd);
                self.open.fetch_sub(1, Relaxed);
            }
            Receiving::No if !connection.sending && connection.bulk => {
                connection.receiving = Receiving::Once;
                self.ring.receive_once(&connection.stream, config.buffer);
            }
            Receiving::No if !connection.sending => {
                connection.receiving = Receiving::Yes;
                self.ring.receive(&connection.stream);
            }
            _ => {}
        }
    }

    /// The kernel was at it just then.
    fn stop_again(&mut self, fd: RawFd) {
        if let Some(connection) = self.connections.find(fd)
            && connection.receiving == Receiving::Stopping
        {
            self.ring.stop_receiving(&connection.stream);
        }
    }
}
