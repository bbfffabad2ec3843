//! Readiness notification: `epoll_create1(2)`, `epoll_ctl(2)`, `epoll_wait(2)`.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{self as raw, EpollTimeout};

use super::clock::milliseconds;

pub use nix::sys::epoll::{EpollEvent as Event, EpollFlags as Flags};

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(raw::Epoll);

impl Epoll {
    /// A new instance without descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Epoll(raw::Epoll::new(raw::EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches a descriptor; its events carry `token`.
    pub fn add(&self, fd: impl AsFd, flags: Flags, token: u64) -> io::Result<()> {
        Ok(self.0.add(fd, Event::new(flags, token))?)
    }

    /// Changes the events to watch for.
    pub fn modify(&self, fd: impl AsFd, flags: Flags, token: u64) -> io::Result<()> {
        Ok(self.0.modify(fd, &mut Event::new(flags, token))?)
    }

    /// Stops watching.
    pub fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits for events and returns their number; waits for ever without a `timeout`.
    ///
    /// Returns 0 after a signal: epoll_wait(2) is never restarted, even with SA_RESTART.
    pub fn wait(&self, events: &mut [Event], timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = EpollTimeout::try_from(milliseconds(timeout)).unwrap_or(EpollTimeout::MAX);
        match self.0.wait(events, timeout) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}
