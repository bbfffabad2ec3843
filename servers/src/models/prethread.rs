//! # `prethread`: threads that take turns in accept
//!
//! What it is: the threads exist before the clients, and one at a time accepts a client of its
//! own (UNP design 7). Compared with `prefork-mutex`, the mutex needs no shared mapping, and a
//! crash affects all clients.
//!
//! The loop:
//! 1. a thread locks the mutex;
//! 2. it accepts a connection and unlocks the mutex;
//! 3. it echoes until the end of input, closes, and locks the mutex again;
//! 4. at a stop, `accept` fails in the thread that holds the mutex, then in the next one.
//!
//! What it costs: no thread start per connection and, unlike `pool`, no hand-over between
//! threads; otherwise the same as `thread`.
//!
//! When it wins: short connections and a bounded number of threads. Waiting clients stay
//! invisible in the backlog, whereas `pool` can report them.
//!
//! Manual pages: pthreads(7), pthread_mutex_lock(3), accept(2), futex(7).
//!
//! Read next: `pool`.

use std::io;
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

use crate::clients::{Client, Clients};
use crate::config::{Config, Workers};
use crate::conn;
use crate::listener::Listener;
use crate::model::{Family, Model};

pub struct Prethread;

impl Model for Prethread {
    fn name(&self) -> &'static str {
        "prethread"
    }

    fn family(&self) -> Family {
        Family::Thread
    }

    fn summary(&self) -> &'static str {
        "threads started ahead, which take turns in accept with a mutex"
    }

    fn workers(&self) -> Workers {
        Workers::PerConnection
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let acceptor = Acceptor {
            listener: Mutex::new(None),
            clients: Clients::default(),
        };
        let (results, first_result) = channel();
        thread::scope(|scope| {
            // Held until all threads have started. If one cannot start, the others find no
            // listener and end.
            let mut open = acceptor.lock();
            for _ in 0..self.workers().count(config) {
                let (acceptor, results) = (&acceptor, results.clone());
                Builder::new().spawn_scoped(scope, move || results.send(acceptor.work(config)))?;
            }
            listener.announce()?;
            *open = Some(&listener);
            drop((open, results));
            let result = first_result.recv().map_err(io::Error::other);
            acceptor.clients.drain();
            result?
        })
    }
}

/// What the threads share. The holder of the mutex accepts.
struct Acceptor<'a> {
    /// `None` before the start and after the stop.
    listener: Mutex<Option<&'a Listener>>,
    clients: Clients,
}

impl<'a> Acceptor<'a> {
    fn work(&self, config: &Config) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(config.buffer);
        while let Some(client) = self.next()? {
            conn::echo(&client, &mut buffer, config.work);
        }
        Ok(())
    }

    /// Waits for the mutex, then for a client; `None` when the server must stop.
    fn next(&self) -> io::Result<Option<Client<'_>>> {
        let mut open = self.lock();
        while let Some(listener) = *open {
            match listener.accept() {
                // Counted under the mutex, so that two threads cannot both take the last place.
                Ok(Some(stream)) if listener.admits(self.clients.count()) => {
                    return Ok(Some(self.clients.enter(stream)));
                }
                Ok(Some(_)) => {}
                end => {
                    *open = None;
                    return end.map(|_| None);
                }
            }
        }
        Ok(None)
    }

    fn lock(&self) -> MutexGuard<'_, Option<&'a Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
