//! Readiness of a list of descriptors: `poll(2)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::clock::milliseconds;
use super::errno::check;

/// A descriptor, its interest, and whether it is ready.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Entry(libc::pollfd);

/// What to watch a descriptor for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Input or the end of input.
    Read,
    /// Room for output.
    Write,
    /// Only its end: that a listener was shut down.
    End,
}

impl Entry {
    /// An entry that the kernel ignores.
    pub const NONE: Entry = Entry(libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    });

    /// Watches a descriptor; a closed one counts as ready.
    pub fn new(fd: impl AsFd, interest: Interest) -> Self {
        let events = match interest {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
            // POLLHUP is always reported. A Unix socket that is shut down has only this.
            Interest::End => libc::POLLRDHUP,
        };
        Entry(libc::pollfd {
            fd: fd.as_fd().as_raw_fd(),
            events,
            revents: 0,
        })
    }

    /// Whether the last `poll` found it ready or broken.
    pub fn is_ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until an entry is ready; waits for ever without a `timeout`.
///
/// No entry is ready after a signal: poll(2) is never restarted, even with SA_RESTART.
pub fn poll(entries: &mut [Entry], timeout: Option<Duration>) -> io::Result<()> {
    let (pointer, length) = (entries.as_mut_ptr().cast(), entries.len() as libc::nfds_t);
    // SAFETY: `Entry` has the layout of `pollfd`, and `entries` is borrowed for the call.
    match check(unsafe { libc::poll(pointer, length, milliseconds(timeout)) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            // The kernel has not written to the entries: they hold old results.
            entries.iter_mut().for_each(|entry| entry.0.revents = 0);
            Ok(())
        }
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn only_the_end_of_a_listener_is_reported_and_not_its_clients() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let over_unix = UnixListener::bind(&path).unwrap();
        let over_tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let _clients = (
            UnixStream::connect(&path).unwrap(),
            TcpStream::connect(over_tcp.local_addr().unwrap()).unwrap(),
        );
        let ended = |fd: &dyn AsFd| {
            let mut entry = [Entry::new(fd.as_fd(), Interest::End)];
            poll(&mut entry, Some(Duration::ZERO)).unwrap();
            entry[0].is_ready()
        };
        let listeners: [(&dyn AsFd, &str); 2] = [(&over_unix, "unix"), (&over_tcp, "tcp")];
        for (listener, name) in listeners {
            assert!(!ended(listener), "{name}");
            socket::shutdown_input(listener.as_fd().as_raw_fd());
            assert!(ended(listener), "{name}");
        }
    }
}
