//! The connections that threads block on, so that a stop can reach them.
//!
//! A thread inside `read` notices nothing else; shutting its socket down wakes it.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::listener::{self, BACK_OFF, Listener};
use crate::stop;

/// Enough for an echo loop, whose buffer is on the heap. A small stack lets the C library
/// cache more stacks of ended threads.
pub const STACK_BYTES: usize = 64 * 1024;

/// The open connections.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<HashMap<RawFd, Arc<TcpStream>>>,
    all_closed: Condvar,
}

impl Clients {
    /// Registers a connection until the returned value is dropped.
    pub fn enter(&self, stream: TcpStream) -> Client<'_> {
        let stream = Arc::new(stream);
        self.lock().insert(stream.as_raw_fd(), Arc::clone(&stream));
        Client {
            clients: self,
            stream,
        }
    }

    /// Passes each client to `hand_over` until the stop, then drains.
    ///
    /// An error of `hand_over` ends the server.
    pub fn accept<'a>(
        &'a self,
        listener: &Listener,
        mut hand_over: impl FnMut(Client<'a>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut accept = || {
            while let Some(stream) = listener.accept()? {
                if listener.admits(self.count()) {
                    hand_over(self.enter(stream))?;
                }
            }
            Ok(())
        };
        let result = accept();
        self.drain();
        result
    }

    /// Like [`Clients::accept`], for models that need a resource per client, such as a
    /// thread. Rejects a client for which `start` fails.
    pub fn start_each<'a>(
        &'a self,
        listener: &Listener,
        mut start: impl FnMut(Client<'a>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.accept(listener, |client| {
            if let Err(error) = start(client) {
                listener::report_rejected("cannot start serving a client", &error);
                thread::sleep(BACK_OFF);
            }
            Ok(())
        })
    }

    /// The number of open connections.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits until all connections are closed; cuts the rest off at the end of the drain
    /// time.
    pub fn drain(&self) {
        let (open, _) = self
            .all_closed
            .wait_timeout_while(self.lock(), stop::drain_left(), |open| !open.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        for stream in open.values() {
            // Fails if the peer is gone; then no thread needs to be woken.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(self.all_closed.wait_while(open, |open| !open.is_empty()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection; dropping it closes it.
#[derive(Debug)]
pub struct Client<'a> {
    clients: &'a Clients,
    stream: Arc<TcpStream>,
}

impl Deref for Client<'_> {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for Client<'_> {
    /// Removes the entry before the descriptor closes and its number can be reused.
    fn drop(&mut self) {
        let mut open = self.clients.lock();
        open.remove(&self.stream.as_raw_fd());
        if open.is_empty() {
            self.clients.all_closed.notify_all();
        }
    }
}
