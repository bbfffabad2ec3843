//! What readiness loops share: how they treat the listener among their descriptors, and
//! how they find what belongs to a descriptor.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::listener::{BACK_OFF, Listener, Remedy, remedy};
use crate::stop;

/// What the listener of a loop is good for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// It is watched.
    Yes,
    /// Descriptors have run out: it is not watched until then, since it would be
    /// reported as ready all the time.
    After(Instant),
    /// The server is to stop: it is not watched any more.
    Stopped,
}

impl Listening {
    /// Whether to watch the listener now.
    pub fn is_due(self) -> bool {
        match self {
            Listening::Yes => true,
            Listening::After(time) => time <= Instant::now(),
            Listening::Stopped => false,
        }
    }

    /// The same, but watched again once its time has come.
    pub fn resumed(self) -> Self {
        match self.is_due() {
            true => Listening::Yes,
            false => self,
        }
    }

    /// Whether to accept now, for a loop that hears of a new connection only once:
    /// when that is `reported`, and after backing off also when it is not.
    pub fn accepts(self, reported: bool) -> bool {
        (reported || self != Listening::Yes) && self.is_due()
    }

    /// How long the loop may wait for events; for ever if nothing is returned.
    pub fn timeout(self) -> Option<Duration> {
        match self {
            Listening::Yes => None,
            Listening::After(time) => Some(time.saturating_duration_since(Instant::now())),
            Listening::Stopped => Some(stop::left()),
        }
    }

    /// How to go on after an error of `accept`; one of the listener itself is returned.
    pub fn after(error: io::Error) -> io::Result<Self> {
        match remedy(&error) {
            Remedy::Next | Remedy::Wait => Ok(Listening::Yes),
            Remedy::BackOff => Ok(Listening::After(Instant::now() + BACK_OFF)),
            Remedy::Stop => Ok(Listening::Stopped),
            Remedy::GiveUp => Err(error),
        }
    }

    /// Whether the loop ends: after a stop, with the last of its `open` connections or
    /// with the drain time.
    pub fn is_over(self, open: usize) -> bool {
        self == Listening::Stopped && (open == 0 || stop::is_overdue())
    }
}

/// Accepts all that wait, without blocking, and says how to go on with the listener.
pub fn accept_all(listener: &Listener, mut keep: impl FnMut(TcpStream)) -> io::Result<Listening> {
    loop {
        match listener.try_accept() {
            Ok(stream) => keep(stream),
            Err(error) if remedy(&error) == Remedy::Next => {}
            Err(error) => return Listening::after(error),
        }
    }
}
