//! The connections that threads are blocked on, so that a stop can reach them.
//!
//! A thread inside `read` hears nothing else; shutting its socket down wakes it.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, Scope};

use crate::listener::{BACK_OFF, Listener};
use crate::stop;

/// Enough for an echo loop, whose buffer is on the heap; small, so that the C library
/// keeps more stacks of ended threads for the next ones.
pub const STACK_BYTES: usize = 64 * 1024;

/// Starts a thread for a client.
pub fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() + Send + 'scope,
) -> io::Result<()> {
    let thread = Builder::new().stack_size(STACK_BYTES);
    thread.spawn_scoped(scope, body).map(drop)
}

/// The connections that are open.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<HashMap<RawFd, Arc<TcpStream>>>,
    left: Condvar,
}

impl Clients {
    /// Keeps a connection until what is returned is dropped.
    pub fn enter(&self, stream: TcpStream) -> Client<'_> {
        let stream = Arc::new(stream);
        self.lock().insert(stream.as_raw_fd(), Arc::clone(&stream));
        Client {
            clients: self,
            stream,
        }
    }

    /// Gives every client to `hand_over` until the stop, and drains.
    ///
    /// An error of `hand_over` is the server's own, and ends it.
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

    /// As [`Clients::accept`], where each client needs something of its own, such as a
    /// thread: one for whom `start` cannot have it is turned away.
    pub fn start_each<'a>(
        &'a self,
        listener: &Listener,
        mut start: impl FnMut(Client<'a>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.accept(listener, |client| {
            if let Err(error) = start(client) {
                listener.turned_away("cannot start serving a client", &error);
                thread::sleep(BACK_OFF);
            }
            Ok(())
        })
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits until all have ended; at the end of the drain time the rest is cut off.
    pub fn drain(&self) {
        let (open, _) = self
            .left
            .wait_timeout_while(self.lock(), stop::left(), |open| !open.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        for stream in open.values() {
            // It may be gone already: then there is nobody to wake.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(self.left.wait_while(open, |open| !open.is_empty()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is open; dropping it closes it.
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
    /// Leaves the list before the descriptor closes, so that its number cannot yet
    /// stand for somebody else.
    fn drop(&mut self) {
        let mut open = self.clients.lock();
        open.remove(&self.stream.as_raw_fd());
        if open.is_empty() {
            self.clients.left.notify_all();
        }
    }
}
