//! # `aio`: requests that the C library carries out
//!
//! What it is: POSIX completion instead of readiness. The server requests a read or a write
//! and learns when it is done. Linux has no kernel support for this on sockets: glibc uses
//! threads that block in `read` and `write`, so this is `pool` behind another interface.
//!
//! The loop:
//! 1. the main thread accepts and queues; the server thread takes a connection per worker;
//! 2. request input from each connection, and wait for the signal that a request is done;
//! 3. check every request: do the work for a finished read and request the write; after a
//!    partial write request the rest; after a complete one request the next read;
//! 4. at the end of input, close, and take the next connection from the queue.
//!
//! What it costs: a dozen system calls per echo, plus those of the locks: `pread` and
//! `pwrite`, which sockets refuse (ESPIPE), before `read` and `write`; two signals sent and
//! waited for; and a check of all requests per signal, since the signals merge. (Queued
//! signals would not, but when their queue is full, glibc loses the result of the request
//! together with the signal.) Per connection, it starts a thread to test whether it can.
//!
//! Its limits: an idle connection occupies a glibc thread in `read`. By default there are 20,
//! so connection 21 starves. `--workers` sets the number: that many connections are served,
//! and the next one waits. The server tests at its start whether so many threads can run. A
//! thread that wakes up too late to find a request ends: under load, glibc starts a thread for
//! every third echo. If it cannot start one, requests wait silently behind idle ones; so the
//! server starts a test thread per client, and rejects the client if that fails. Requests of
//! one descriptor run in sequence, and a running one cannot be cancelled: the server cuts the
//! connection off instead.
//!
//! When it wins: not with sockets, but with files, for which readiness means nothing.
//!
//! Manual pages: aio(7), aio_read(3), aio_init(3), sigevent(3type), sigwait(3).
//!
//! Read next: `uring`.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::task::Poll;

use crate::clients::{Client, Clients, STACK_BYTES};
use crate::config::{Config, Workers};
use crate::conn;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::sys::aio::{self, Transfer};
use crate::sys::signal;
use crate::sys::thread::{spawn, spawn_detached};
use crate::work::Work;
use crate::workers;

pub struct Aio;

impl Model for Aio {
    fn name(&self) -> &'static str {
        "aio"
    }

    fn family(&self) -> Family {
        Family::Completion
    }

    fn summary(&self) -> &'static str {
        "POSIX aio: the C library's threads read and write, and signal when it is done"
    }

    fn workers(&self) -> Workers {
        Workers::PerConnection
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let count = self.workers().count(config);
        workers::check(count, STACK_BYTES)?;
        aio::set_threads(count);
        // Before any thread starts, so that the signal stays pending until the wait.
        signal::block(aio::DONE)?;
        // Leaked: nothing else outlives the detached thread.
        let clients: &Clients = Box::leak(Box::default());
        let (queue, waiting) = channel();
        let (buffer, work) = (config.buffer, config.work);
        spawn_detached(STACK_BYTES, move || run(waiting, count, buffer, work))?;
        listener.announce()?;
        clients.accept(&listener, |client| {
            let sent = queue.send(client);
            listener::report_waiting(clients.count(), count);
            signal::send_to_self(aio::DONE)?;
            sent.map_err(|_| io::Error::other("the request thread has ended"))
        })
    }
}

/// Serves up to `workers` connections. Each has exactly one request, so with one glibc
/// thread per connection no request waits behind an idle one.
fn run(waiting: Receiver<Client>, workers: usize, buffer: usize, work: Work) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        while connections.len() < workers {
            match waiting.try_recv() {
                Ok(client) => connections.extend(Connection::start(client, buffer)),
                Err(TryRecvError::Disconnected) if connections.is_empty() => return,
                Err(_) => break,
            }
        }
        if signal::wait(aio::DONE).is_err() {
            return;
        }
        connections.retain_mut(|connection| connection.advance(work));
    }
}

struct Connection<'a> {
    transfer: Transfer<Client<'a>>,
    /// The part of the buffer that is being written; empty while it reads.
    unsent: Range<usize>,
}

impl<'a> Connection<'a> {
    fn start(client: Client<'a>, buffer: usize) -> Option<Self> {
        let resources = try_thread().and_then(|()| conn::buffer(buffer));
        let buffer = resources
            .inspect_err(|error| listener::report_rejected("cannot start serving a client", error))
            .ok()?;
        let mut connection = Connection {
            transfer: Transfer::new(client, buffer),
            unsent: 0..0,
        };
        connection.request_next().then_some(connection)
    }

    /// Continues if the request is done; `false` if the connection must close.
    fn advance(&mut self, work: Work) -> bool {
        match self.transfer.result() {
            Poll::Pending => return true,
            Poll::Ready(Err(_)) => return false,
            Poll::Ready(Ok(sent)) if !self.unsent.is_empty() => self.unsent.start += sent,
            Poll::Ready(Ok(0)) => return false,
            Poll::Ready(Ok(read)) => {
                work.perform();
                self.unsent = 0..read;
            }
        }
        self.request_next()
    }

    /// Submits the next request; `false` if that failed.
    fn request_next(&mut self) -> bool {
        let asked = match self.unsent.is_empty() {
            true => self.transfer.read(),
            false => self.transfer.write(self.unsent.clone()),
        };
        asked
            .inspect_err(|error| listener::report_rejected("cannot make a request", error))
            .is_ok()
    }
}

/// Tests whether the C library could start a thread. It reports no failure: a request
/// without a thread waits for the next free one, even one that a served client needs.
fn try_thread() -> io::Result<()> {
    spawn(STACK_BYTES, || {}).map(drop)
}
