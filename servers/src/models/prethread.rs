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
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clients::{Client, Clients};
use crate::config::{Config, Workers};
use crate::conn;
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::poll::{Entry, Interest, poll};
use crate::sys::socket;
use crate::work::Work;
use crate::workers;

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
        // Leaked: nothing else outlives the detached threads.
        let (listener, _file) = listener.leak();
        let acceptor: &Acceptor = Box::leak(Box::new(Acceptor {
            listener: Mutex::new(None),
            clients: Clients::default(),
        }));
        let (errors, first_error) = channel();
        // Held until all threads have started.
        let mut open = acceptor.lock();
        workers::start(self.workers().count(config), || {
            let (buffer, work) = (conn::buffer(config.buffer)?, config.work);
            let errors = errors.clone();
            Ok(move || {
                if let Err(error) = acceptor.serve(buffer, work) {
                    let _ = errors.send(error);
                    socket::shutdown_input(listener.as_fd().as_raw_fd());
                }
            })
        })?;
        listener.announce()?;
        *open = Some(listener);
        drop(open);
        // When the server must stop, the other threads may all be busy.
        let mut end = [Entry::new(listener, Interest::End)];
        while !end[0].is_ready() {
            poll(&mut end, None)?;
        }
        // The thread that accepts has returned, and has counted its client if it got one.
        *acceptor.lock() = None;
        acceptor.clients.drain();
        first_error.try_recv().map_or(Ok(()), Err)
    }
}

/// What the threads share. The holder of the mutex accepts.
struct Acceptor {
    /// `None` before the start and after the stop.
    listener: Mutex<Option<&'static Listener>>,
    clients: Clients,
}

impl Acceptor {
    fn serve(&self, mut buffer: Vec<u8>, work: Work) -> io::Result<()> {
        while let Some(client) = self.next()? {
            conn::echo(&client, &mut buffer, work);
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

    fn lock(&self) -> MutexGuard<'_, Option<&'static Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
