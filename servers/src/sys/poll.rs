//! Readiness of a list of descriptors: `poll(2)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::check;
use super::clock::milliseconds;

/// A descriptor, what to watch it for, and whether that has come.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Entry(libc::pollfd);

/// What a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Input, or the end of it.
    Read,
    /// Room for output.
    Write,
    /// Its end alone: of a listener, that it was shut down.
    End,
}

impl Entry {
    /// An entry that the kernel passes over.
    pub const NONE: Entry = Entry(libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    });

    /// Watches a descriptor; one that is closed meanwhile counts as ready.
    pub fn new(fd: impl AsFd, interest: Interest) -> Self {
        let events = match interest {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
            // What cannot be asked for is reported always.
            Interest::End => 0,
        };
        Entry(libc::pollfd {
            fd: fd.as_fd().as_raw_fd(),
            events,
            revents: 0,
        })
    }

    /// Whether the last `poll` found it ready, or broken.
    pub fn is_ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until an entry is ready, for ever without a `timeout`.
///
/// A signal counts as none: poll(2) is never restarted, whatever the handler was
/// installed with.
pub fn poll(entries: &mut [Entry], timeout: Option<Duration>) -> io::Result<()> {
    let (pointer, length) = (entries.as_mut_ptr().cast(), entries.len() as libc::nfds_t);
    // SAFETY: `Entry` has the layout of `pollfd`, and `entries` is borrowed for the call.
    match check(unsafe { libc::poll(pointer, length, milliseconds(timeout)) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            // The kernel has not written to the entries: what they say is old.
            entries.iter_mut().for_each(|entry| entry.0.revents = 0);
            Ok(())
        }
        result => result.map(drop),
    }
}
