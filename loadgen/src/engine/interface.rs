//! What a worker needs of an engine.

use std::io;
use std::net::IpAddr;

use super::failure::Failure;
use crate::clock::Clock;

/// Something that happened on a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// The socket is writable: the connect has ended, with or without success, or the kernel
    /// accepts bytes again after it refused [`Engine::send`].
    Room(usize),
    /// These bytes arrived; none means that the peer has ended the stream, or sent an empty
    /// datagram.
    Received(usize, &'a [u8]),
    /// The last bytes that [`Engine::send`] accepted, this many, were not sent after all.
    /// [`Event::Room`] follows.
    Returned(usize, usize),
    /// The connection has failed.
    Failed(usize, io::Error),
}

/// How long to wait for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Do not wait.
    Now,
    /// Until this time of the clock, to the microsecond.
    Time(u64),
    /// About this many milliseconds at most, where precision does not matter.
    About(u16),
}

/// A mechanism for many sockets at once. It belongs to the thread that made it, and may read
/// the bytes that it was given to send as long as `'a` lasts.
pub trait Engine<'a> {
    /// The clock that its times are read from.
    type Clock: Clock;

    /// Starts a connect in a free slot, from `source` or an address that the kernel chooses. The
    /// error [`io::ErrorKind::WouldBlock`] means that the server's queue of connections is full,
    /// and that nothing will report when it is not.
    fn connect(&mut self, slot: usize, source: Option<IpAddr>) -> io::Result<()>;

    /// Checks the outcome of a connect after its [`Event::Room`], and starts to receive.
    fn established(&mut self, slot: usize) -> Result<(), Failure>;

    /// Ends this side of the stream.
    fn shut_down(&mut self, slot: usize) -> io::Result<()>;

    /// Closes the socket in a slot, which frees the slot. A slot whose connect could not even
    /// be started is free already.
    fn remove(&mut self, slot: usize);

    /// Hands bytes to the kernel, as many as it accepts. Without room it returns the error
    /// [`io::ErrorKind::WouldBlock`], and 0 if the slot has to wait for its next turn;
    /// [`Event::Room`] follows in both cases.
    fn send(&mut self, slot: usize, bytes: &'a [u8]) -> io::Result<usize>;

    /// Waits until there is an event.
    fn wait(&mut self, until: Until) -> io::Result<()>;

    /// The next event of those that were waited for.
    fn next(&mut self) -> Option<Event<'_>>;
}
