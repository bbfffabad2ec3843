//! How the kernel is talked to: what a worker needs of it, and the mechanisms that have it.
//!
//! A worker knows its connections by numbers, their slots. It gives the engine a socket for
//! a slot, sends pieces, waits, and takes one event after the other; what the events mean is
//! its business alone, so it is written once for all engines.

mod epoll;
mod uring;

use std::io;

use socket2::Socket;

use crate::clock::Clock;
use crate::plan::Request;

pub use epoll::Epoll;
pub use uring::Uring;

/// Something that happened on a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// There is room to send: the connect has ended, one way or the other, or the kernel
    /// takes bytes again after [`Engine::send`] was refused.
    Room(usize),
    /// These bytes came; none means that the peer has ended the stream, or sent an empty
    /// datagram.
    Received(usize, &'a [u8]),
    /// Of what [`Engine::send`] took this many bytes, the last ones, were not sent after all.
    /// There will be [`Event::Room`].
    Returned(usize, usize),
    /// The connection has failed.
    Failed(usize, io::Error),
}

/// How long to wait for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Not at all.
    Now,
    /// Until this time of the clock, to the microsecond.
    Time(u64),
    /// About so many milliseconds at most, where it does not matter exactly.
    About(u16),
}

/// A mechanism for many sockets at once. It belongs to the thread that made it, and may read
/// what is sent as long as `'a` lasts.
pub trait Engine<'a>: Sized {
    /// What it needs to begin, for about so many slots.
    fn new(request: &Request, slots: usize, clock: Clock) -> io::Result<Self>;

    /// Takes a socket whose connect is under way into a slot that is free.
    fn add(&mut self, slot: usize, socket: Socket) -> io::Result<()>;

    /// Has a slot watched for what comes. Nothing is received before.
    fn receive(&mut self, slot: usize) -> io::Result<()>;

    /// The socket in a slot.
    fn socket(&self, slot: usize) -> Option<&Socket>;

    /// Closes the socket in a slot, which is free from then on.
    fn remove(&mut self, slot: usize);

    /// Hands bytes to the kernel, as many as it takes. When it has no room it returns the
    /// error [`io::ErrorKind::WouldBlock`], and when the slot has had its turn until the next
    /// wait, 0; in both cases there will be [`Event::Room`].
    fn send(&mut self, slot: usize, bytes: &'a [u8]) -> io::Result<usize>;

    /// Waits until there is an event.
    fn wait(&mut self, until: Until) -> io::Result<()>;

    /// The next event of those that were waited for.
    fn next(&mut self) -> Option<Event<'_>>;
}
