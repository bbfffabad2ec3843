//! # `uring`: one thread, told what is done
//!
//! What it is: an inverted event loop. Instead of asking which socket is ready and then
//! reading, it queues requests in a ring in shared memory and finds the results in another.
//! One multishot request accepts all connections; one per connection receives all input, into
//! any free buffer of a common pool.
//!
//! The loop:
//! 1. submit the queued requests and wait for completions, in one system call;
//! 2. accepted: request a receive on the connection;
//! 3. received: request a send of the buffer;
//! 4. sent: return the buffer to the pool, and at the end of input close.
//!
//! What it costs: one system call for all completions since the last one: far less than one
//! per echo under load, and as many as `epoll` when nearly idle. An idle connection has no
//! buffer; the pool grows with the number of connections. Input that arrives during a send is
//! echoed, and worked on, as one message.
//!
//! When it wins: many busy connections, and wherever system calls are expensive.
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
use crate::model::{Demands, Family, Model};
use crate::readiness::Listening;
use crate::sys::uring::{Completion, Payload, Ring};

pub struct Uring;

/// Pool buffers that add up to `--buffer`, the limit per client. The kernel stops a receive
/// only after up to three rounds of 32 buffers each (MULTISHOT_MAX_RETRY; 98 were observed).
const POOL_BUFFERS_PER_CLIENT: usize = 128;

/// Pool buffers to receive into, in addition to one per connection that may be sending.
const FREE_BUFFERS: usize = 64;

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

    fn demands(&self) -> Demands {
        Demands {
            io_uring: true,
            ..Demands::default()
        }
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
    /// Size of a pool buffer in bytes.
    pool_buffer: usize,
    connections: DescriptorMap<Connection>,
    /// Open connections of all loops of the server.
    open: Arc<AtomicUsize>,
}

struct Connection {
    stream: TcpStream,
    receiving: Receiving,
    sending: bool,
    /// Input that arrived during a send.
    backlog: Vec<u8>,
    /// The client sends more than a pool buffer holds, or does not read, or the pool was
    /// empty: single receives into a buffer of its own.
    bulk: bool,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    /// Multishot, into pool buffers.
    Yes,
    /// Cancelled, but not completed yet.
    Stopping,
    /// A single receive, into its own buffer.
    Once,
    No,
}

impl Loop {
    pub(super) fn new(config: &Config, open: Arc<AtomicUsize>) -> io::Result<Self> {
        let pool_buffer = config.buffer.div_ceil(POOL_BUFFERS_PER_CLIENT);
        Ok(Loop {
            ring: Ring::new(pool_buffer)?,
            pool_buffer,
            connections: DescriptorMap::default(),
            open,
        })
    }

    pub(super) fn run(mut self, listener: &Listener, config: &Config) -> io::Result<()> {
        let mut listening = Listening::Active;
        self.ring.take_over()?;
        self.ring.accept(listener.as_fd());
        if listener.is_unix() {
            self.ring.watch_end(listener.as_fd());
        }
        while !listening.is_over(self.connections.count()) {
            self.ring.wait(listening.timeout())?;
            if listening != Listening::Active && listening.is_due() {
                self.ring.accept(listener.as_fd());
                listening = Listening::Active;
            }
            while let Some(completion) = self.ring.completed() {
                match completion {
                    Completion::Accepted { result, more } => {
                        let next = self.accepted(listener, result, more)?;
                        // The queue of a Unix socket outlives the stop.
                        if listening != Listening::Stopped {
                            listening = next;
                        }
                    }
                    Completion::ListenerEnded => listening = Listening::ended()?,
                    Completion::Received { stream, result, more } => {
                        self.received(stream, result, more, config)
                    }
                    Completion::NotStopped { stream } => self.retry_stop(stream),
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
                if listener.try_add(&self.open) {
                    self.insert(stream);
                }
                Listening::Active
            }
            Err(error) => Listening::after(error)?,
        };
        if !more && listening == Listening::Active {
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
        self.ring.provide(self.connections.count() + FREE_BUFFERS);
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
                    connection.bulk = bytes.len() > self.pool_buffer;
                }
                if connection.sending {
                    // One send at a time, to keep the order.
                    connection.backlog.extend_from_slice(bytes);
                    self.ring.recycle(payload);
                } else {
                    config.work.perform();
                    connection.sending = true;
                    self.ring.send(&connection.stream, payload);
                }
            }
            // The receive was cancelled.
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
            // The pool is empty, and may stay so for a while.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => connection.bulk = true,
            Ok(None) | Err(_) => connection.ended = true,
        }
        self.resume(fd, config);
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
        self.resume(fd, config);
    }

    /// Receives only while nothing but the last buffer is left to send, and closes once
    /// nothing is left.
    fn resume(&mut self, fd: RawFd, config: &Config) {
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

    /// Repeats a cancellation that failed because the kernel was just receiving.
    fn retry_stop(&mut self, fd: RawFd) {
        if let Some(connection) = self.connections.find(fd)
            && connection.receiving == Receiving::Stopping
        {
            self.ring.stop_receiving(&connection.stream);
        }
    }
}
