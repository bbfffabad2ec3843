//! The listener in an event loop: pause after exhausted resources, accept, stop, drain.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::listener::{BACK_OFF, Listener, Remedy, remedy};
use crate::stop;

/// Whether an event loop watches its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// It does.
    Active,
    /// Not before this time: descriptors have run out, and the listener would stay ready.
    PausedUntil(Instant),
    /// No longer: the server is stopping.
    Stopped,
}

impl Listening {
    /// Whether to watch the listener now.
    pub fn is_due(self) -> bool {
        match self {
            Listening::Active => true,
            Listening::PausedUntil(time) => time <= Instant::now(),
            Listening::Stopped => false,
        }
    }

    /// Ends a pause whose time has come.
    pub fn resumed(self) -> Self {
        match self.is_due() {
            true => Listening::Active,
            false => self,
        }
    }

    /// Whether to accept now, in an edge-triggered loop: when the listener was `reported`
    /// ready, and after a pause in any case.
    pub fn accepts(self, reported: bool) -> bool {
        (reported || self != Listening::Active) && self.is_due()
    }

    /// The time-out for the next wait; `None` waits for ever.
    pub fn timeout(self) -> Option<Duration> {
        match self {
            Listening::Active => None,
            Listening::PausedUntil(time) => Some(time.saturating_duration_since(Instant::now())),
            Listening::Stopped => Some(stop::drain_left()),
        }
    }

    /// The state after an error of `accept`. Returns an error of the listener itself.
    pub fn after(error: io::Error) -> io::Result<Self> {
        match remedy(&error) {
            Remedy::Next | Remedy::Wait => Ok(Listening::Active),
            Remedy::BackOff => Ok(Listening::PausedUntil(Instant::now() + BACK_OFF)),
            Remedy::Stop => Ok(Listening::Stopped),
            Remedy::GiveUp => Err(error),
        }
    }

    /// The state after the listener was shut down, which is an error unless the server stops.
    pub fn ended() -> io::Result<Self> {
        // What `accept` on a TCP socket returns then.
        Listening::after(io::Error::from_raw_os_error(libc::EINVAL))
    }

    /// Whether the loop ends: after a stop, when no connection is `open` or the drain time
    /// is over.
    pub fn is_over(self, open: usize) -> bool {
        self == Listening::Stopped && (open == 0 || stop::drain_is_over())
    }
}

/// Accepts all queued connections without blocking; returns the new state.
pub fn accept_all(listener: &Listener, mut keep: impl FnMut(TcpStream)) -> io::Result<Listening> {
    loop {
        match listener.try_accept() {
            Ok(stream) => keep(stream),
            Err(error) if remedy(&error) == Remedy::Next => {}
            Err(error) => return Listening::after(error),
        }
    }
}
