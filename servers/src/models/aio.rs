//! # `aio`: requests that the C library carries out
//!
//! What it is: completion instead of readiness, as POSIX has it. The server asks for a read
//! or a write and is told when it is done. On Linux no kernel does this for sockets: glibc
//! has threads that block in `read` and `write`, so it is `pool` behind another interface.
//!
//! The loop:
//! 1. the main thread accepts and queues; the other one takes as many as there are workers;
//! 2. ask for input from each, and wait for the signal that something is done;
//! 3. look at every request: what was read is worked on and asked to be sent, the rest of
//!    what was sent in part too, and after the whole of it input is asked for again;
//! 4. at the end of input, close, and take the next one from the queue.
//!
//! What it costs: a dozen system calls per echo and those of the locks: `pread` and `pwrite`,
//! which sockets refuse (ESPIPE), before `read` and `write`; two signals, sent and waited
//! for; a look at all requests per signal, since these merge (queued ones would not, but
//! where their queue is full glibc loses the result of the request with the signal). Per
//! connection, the start of a thread that only shows that threads can be started.
//!
//! Its limits: an idle connection holds a thread of glibc in `read`. There are 20, in which
//! connection 21 starves; `--workers` sets the number: as many connections are served, and
//! N+1 waits. A thread that is woken and finds another one quicker ends: under load, glibc
//! starts one for every third echo. Where it cannot, requests wait in silence behind those
//! that idle, so the server tries for each client whether one starts, and turns it away if
//! not. Those of one descriptor run one after the other, and one that runs cannot be
//! cancelled: its connection is cut off instead.
//!
//! When it wins: not with sockets; with files, where readiness says nothing.
//!
//! Manual pages: aio(7), aio_read(3), aio_init(3), sigevent(3type), sigwait(3).
//!
//! Read next: `uring`.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::task::Poll;
use std::thread::{self, Builder};

use crate::clients::{self, Client, Clients, STACK_BYTES};
use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::aio::{self, Transfer};
use crate::sys::signal;
use crate::work::Work;

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
        let workers = self.workers().count(config);
        aio::set_threads(workers);
        // Before any thread starts: it is to stay pending until somebody waits for it.
        signal::block(aio::DONE)?;
        let clients = Clients::default();
        let (queue, waiting) = channel();
        thread::scope(|scope| {
            clients::spawn(scope, || run(waiting, workers, config, &listener))?;
            listener.announce()?;
            let result = clients.accept(&listener, |client| {
                let sent = queue.send(client);
                listener.say_who_waits(clients.count(), workers);
                signal::send_to_self(aio::DONE)?;
                sent.map_err(|_| io::Error::other("the thread of the requests has ended"))
            });
            drop(queue);
            signal::send_to_self(aio::DONE)?;
            result
        })
    }
}

/// Each connection has exactly one request, so as many threads of the C library as
/// connections are enough for none to wait behind the idle ones.
fn run(waiting: Receiver<Client>, workers: usize, config: &Config, listener: &Listener) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        while connections.len() < workers {
            match waiting.try_recv() {
                Ok(client) => connections.extend(Connection::start(client, config.buffer, listener)),
                Err(TryRecvError::Disconnected) if connections.is_empty() => return,
                Err(_) => break,
            }
        }
        if signal::wait(aio::DONE).is_err() {
            return;
        }
        connections.retain_mut(|connection| connection.advance(config.work, listener));
    }
}

struct Connection<'a> {
    transfer: Transfer<Client<'a>>,
    /// What is being written; nothing while it reads.
    unsent: Range<usize>,
}

impl<'a> Connection<'a> {
    fn start(client: Client<'a>, buffer: usize, listener: &Listener) -> Option<Self> {
        if let Err(error) = try_thread() {
            listener.turned_away("cannot start a thread for a client", &error);
            return None;
        }
        let mut connection = Connection {
            transfer: Transfer::new(client, buffer),
            unsent: 0..0,
        };
        connection.ask(listener).then_some(connection)
    }

    /// Goes on if its request is done; whether it is to be kept.
    fn advance(&mut self, work: Work, listener: &Listener) -> bool {
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
        self.ask(listener)
    }

    /// Asks for what comes next; whether that could be asked for.
    fn ask(&mut self, listener: &Listener) -> bool {
        let asked = match self.unsent.is_empty() {
            true => self.transfer.read(),
            false => self.transfer.write(self.unsent.clone()),
        };
        asked
            .inspect_err(|error| listener.turned_away("cannot make a request", error))
            .is_ok()
    }
}

/// Whether the C library could start a thread. It would not say so: a request that has none
/// takes the next that becomes free, also from a client that is being served.
fn try_thread() -> io::Result<()> {
    let thread = Builder::new().stack_size(STACK_BYTES).spawn(|| {})?;
    // Nothing that could fail.
    let _ = thread.join();
    Ok(())
}
