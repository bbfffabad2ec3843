//! What readiness loops share: how they treat the listener among their descriptors, and
//! how they find what belongs to a descriptor.

use std::io;
use std::net::TcpStream;
use std::os::fd::RawFd;
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

/// Something for each descriptor.
///
/// The kernel hands out the lowest number that is free, so the table stays as small as
/// the number of connections.
#[derive(Debug)]
pub struct ByDescriptor<T> {
    slots: Vec<Option<T>>,
    count: usize,
}

impl<T> Default for ByDescriptor<T> {
    fn default() -> Self {
        ByDescriptor {
            slots: Vec::new(),
            count: 0,
        }
    }
}

impl<T> ByDescriptor<T> {
    /// Puts something in the place of a descriptor.
    pub fn insert(&mut self, fd: RawFd, value: T) {
        let at = fd as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        if self.slots[at].replace(value).is_none() {
            self.count += 1;
        }
    }

    /// What has been put there, if anything is.
    pub fn at(&mut self, fd: RawFd) -> Option<&mut T> {
        self.slots.get_mut(fd as usize)?.as_mut()
    }

    /// Takes it out.
    pub fn remove(&mut self, fd: RawFd) -> Option<T> {
        let value = self.slots.get_mut(fd as usize)?.take();
        self.count -= usize::from(value.is_some());
        value
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A number that none of their descriptors exceeds; below 0 if there never was one.
    pub fn highest(&self) -> RawFd {
        self.slots.len() as RawFd - 1
    }

    /// All of them with their descriptors, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (RawFd, &mut T)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(at, slot)| Some((at as RawFd, slot.as_mut()?)))
    }
}
