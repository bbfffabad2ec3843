//! The connections that threads are blocked on, so that a stop can reach them.
//!
//! A thread inside `read` hears nothing else; shutting its socket down wakes it.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::stop;

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
        let gone = self.left.wait_while(open, |open| !open.is_empty());
        drop(gone);
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
