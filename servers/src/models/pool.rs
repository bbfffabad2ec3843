//! # `pool`: threads that wait for clients
//!
//! What it is: the threads exist before the clients. The main thread accepts and hands each
//! connection to a worker through a queue (UNP design 8). A worker serves one client until it
//! ends, so the number of workers limits the clients served at once.
//!
//! The loop:
//! 1. the main thread accepts a connection and queues it;
//! 2. a free worker takes it, echoes until the end of input and closes;
//! 3. connection N+1 stays in the queue, open and unanswered, until a worker is free;
//! 4. at a stop the queue closes, and a worker that finds it empty ends.
//!
//! What it costs: a hand-over between threads per connection instead of a thread start;
//! otherwise the same as `thread`.
//!
//! When it wins: short connections with a bounded number of threads. The price is the queue,
//! in which clients starve behind long connections.
//!
//! Manual pages: pthreads(7), pthread_mutex_lock(3), pthread_cond_wait(3), futex(7).
//!
//! Read next: `thread-duplex`.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};

use crate::clients::{Client, Clients};
use crate::config::{Config, Workers};
use crate::conn;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::work::Work;
use crate::workers;

pub struct Pool;

impl Model for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn family(&self) -> Family {
        Family::Thread
    }

    fn summary(&self) -> &'static str {
        "a fixed number of threads that take clients from a queue"
    }

    fn workers(&self) -> Workers {
        Workers::PerConnection
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let count = self.workers().count(config);
        // Leaked: nothing else outlives the detached threads.
        let clients: &Clients = Box::leak(Box::default());
        let (queue, waiting) = channel();
        let waiting: &Mutex<_> = Box::leak(Box::new(Mutex::new(waiting)));
        workers::start(count, || {
            let (buffer, work) = (conn::buffer(config.buffer)?, config.work);
            Ok(move || serve_waiting(waiting, buffer, work))
        })?;
        listener.announce()?;
        clients.accept(&listener, |client| {
            let sent = queue.send(client);
            listener::report_waiting(clients.count(), count);
            sent.map_err(|_| io::Error::other("all workers of the pool have ended"))
        })
    }
}

fn serve_waiting(waiting: &Mutex<Receiver<Client>>, mut buffer: Vec<u8>, work: Work) {
    loop {
        // Holds the lock while it waits: the other workers wait for the lock.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(client) = next else { return };
        conn::echo(&client, &mut buffer, work);
    }
}
