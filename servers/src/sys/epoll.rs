//! Readiness notification: `epoll_create1(2)`, `epoll_ctl(2)`, `epoll_wait(2)`.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll as raw;

pub use nix::sys::epoll::{EpollEvent as Event, EpollFlags as Flags};

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(raw::Epoll);

impl Epoll {
    /// A new instance that watches nothing.
    pub fn new() -> io::Result<Self> {
        Ok(Epoll(raw::Epoll::new(raw::EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches a descriptor; its events carry `token`.
    pub fn add(&self, fd: impl AsFd, flags: Flags, token: u64) -> io::Result<()> {
        Ok(self.0.add(fd, Event::new(flags, token))?)
    }

    /// Watches for something else from now on.
    pub fn modify(&self, fd: impl AsFd, flags: Flags, token: u64) -> io::Result<()> {
        Ok(self.0.modify(fd, &mut Event::new(flags, token))?)
    }

    /// Stops watching.
    pub fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits for events, for ever without a `timeout`, and returns how many came.
    ///
    /// A signal counts as no event: epoll_wait(2) is never restarted, whatever the
    /// handler was installed with.
    pub fn wait(&self, events: &mut [Event], timeout: Option<Duration>) -> io::Result<usize> {
        match self.0.wait(events, milliseconds(timeout)) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// Rounds up: a time-out rounded down to 0 would poll in a loop until it is due.
fn milliseconds(timeout: Option<Duration>) -> raw::EpollTimeout {
    let Some(timeout) = timeout else {
        return raw::EpollTimeout::NONE;
    };
    let whole = timeout.as_nanos().div_ceil(1_000_000);
    raw::EpollTimeout::try_from(whole).unwrap_or(raw::EpollTimeout::MAX)
}
