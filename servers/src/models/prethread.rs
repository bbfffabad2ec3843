//! # `prethread`: threads that take turns in accept
//!
//! What it is: the threads exist before the clients, and each accepts its own, one at a
//! time (UNP design 7). As `prefork-mutex`, in one address space: the mutex needs no
//! shared memory, and a crash takes everybody with it.
//!
//! The loop:
//! 1. a thread takes the mutex;
//! 2. it accepts a connection and gives the mutex back;
//! 3. it echoes until the end of input, closes, and takes the mutex again;
//! 4. at a stop `accept` fails in the thread that has the mutex, then in the next.
//!
//! What it costs: no start of a thread per connection and, unlike `pool`, no hand-over
//! between threads either; then the same as `thread`.
//!
//! When it wins: short connections and a bounded number of threads. Nobody sees who
//! waits: that is left to the backlog, where `pool` can tell.
//!
//! Manual pages: pthreads(7), pthread_mutex_lock(3), accept(2), futex(7).
//!
//! Read next: `pool`.

use std::io;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
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
        let door = Door {
            listener: Mutex::new(None),
            clients: Clients::default(),
        };
        let (ends, first_end) = channel();
        thread::scope(|scope| {
            // It opens once all are there; if they never are, they find it closed and end.
            let mut turn = door.listener.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..self.workers().count(config) {
                let (door, ends) = (&door, ends.clone());
                Builder::new().spawn_scoped(scope, move || ends.send(door.work(config)))?;
            }
            listener.announce()?;
            *turn = Some(&listener);
            drop((turn, ends));
            let result = first_end.recv().map_err(io::Error::other);
            door.clients.drain();
            result?
        })
    }
}

/// Where the clients come in. Whoever has the mutex accepts.
struct Door<'a> {
    /// `None` while nobody is let in.
    listener: Mutex<Option<&'a Listener>>,
    clients: Clients,
}

impl Door<'_> {
    fn work(&self, config: &Config) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(config.buffer);
        while let Some(client) = self.next()? {
            conn::echo(&client, &mut buffer, config.work);
        }
        Ok(())
    }

    /// Waits for the mutex, then for a client; `None` when the server is to stop.
    fn next(&self) -> io::Result<Option<Client<'_>>> {
        let mut turn = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(listener) = *turn {
            match listener.accept() {
                // Counted under the mutex: two could not both be the last that may enter.
                Ok(Some(stream)) if listener.admits(self.clients.count()) => {
                    return Ok(Some(self.clients.enter(stream)));
                }
                Ok(Some(_)) => {}
                end => {
                    *turn = None;
                    return end.map(|_| None);
                }
            }
        }
        Ok(None)
    }
}
