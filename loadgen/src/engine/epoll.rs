//! Readiness: `epoll_wait`, then a read or a write for each socket that is ready.

use std::io;

use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::{Engine, Event, Until};
use crate::clock::Clock;
use crate::pattern::LONGEST_PIECE;
use crate::plan::Request;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// What the timer is known by; no slot has this number.
const TIMER: u64 = u64::MAX;

/// One epoll instance and its sockets.
pub struct Epoll {
    epoll: epoll::Epoll,
    /// `epoll_wait` counts milliseconds; this has a message sent to the microsecond.
    timer: TimerFd,
    armed: Until,
    clock: Clock,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    events: Vec<EpollEvent>,
    /// The events that are still to be looked at.
    pending: std::ops::Range<usize>,
}

struct Connection {
    socket: Option<Socket>,
    /// What epoll was told to watch.
    watched: EpollFlags,
}

/// A slot that is free.
const FREE: fn() -> Connection = || Connection {
    socket: None,
    watched: EpollFlags::empty(),
};

impl<'a> Engine<'a> for Epoll {
    fn new(request: &Request, slots: usize, clock: Clock) -> io::Result<Self> {
        let epoll = epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        // Edge-triggered: a time that has passed is seen once, without a read.
        epoll.add(
            &timer,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER),
        )?;
        let (_, largest) = request.sizes.bounds();
        Ok(Epoll {
            epoll,
            timer,
            armed: Until::Now,
            clock,
            connections: std::iter::repeat_with(FREE).take(slots).collect(),
            buffer: vec![0; largest.clamp(64 * 1024, LONGEST_PIECE as u64) as usize],
            events: vec![EpollEvent::empty(); EVENTS],
            pending: 0..0,
        })
    }

    fn add(&mut self, slot: usize, socket: Socket) -> io::Result<()> {
        if slot >= self.connections.len() {
            self.connections.resize_with(slot + 1, FREE);
        }
        let watched = EpollFlags::EPOLLOUT;
        self.epoll.add(&socket, EpollEvent::new(watched, slot as u64))?;
        self.connections[slot] = Connection {
            socket: Some(socket),
            watched,
        };
        Ok(())
    }

    fn receive(&mut self, slot: usize) -> io::Result<()> {
        self.watch(slot, EpollFlags::EPOLLIN)
    }

    fn socket(&self, slot: usize) -> Option<&Socket> {
        self.connections[slot].socket.as_ref()
    }

    fn remove(&mut self, slot: usize) {
        // One that could not even be begun was never added.
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.socket = None;
        }
    }

    fn send(&mut self, slot: usize, bytes: &'a [u8]) -> io::Result<usize> {
        let connection = &mut self.connections[slot];
        let Some(socket) = &mut connection.socket else {
            return Err(Errno::NOTCONN.into());
        };
        if connection.watched.contains(EpollFlags::EPOLLOUT) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // By the system call itself: those of the C library can be cancelled, and see to
        // that in a process of several threads at 2% of the cost of an echo.
        let result = retry_on_intr(|| send(&*socket, bytes, SendFlags::NOSIGNAL));
        if result == Err(Errno::WOULDBLOCK) {
            self.watch(slot, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)?;
        }
        Ok(result?)
    }

    fn wait(&mut self, until: Until) -> io::Result<()> {
        let timeout = match until {
            Until::Now => EpollTimeout::ZERO,
            Until::About(milliseconds) => EpollTimeout::from(milliseconds),
            Until::Time(time_ns) => {
                self.arm(time_ns)?;
                EpollTimeout::NONE
            }
        };
        let ready = match self.epoll.wait(&mut self.events, timeout) {
            Ok(ready) => ready,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        self.pending = 0..ready;
        Ok(())
    }

    fn next(&mut self) -> Option<Event<'_>> {
        while self.pending.start < self.pending.end {
            let event = self.events[self.pending.start];
            if event.data() == TIMER {
                // It is seen once, and would have to be set again for the same time.
                self.armed = Until::Now;
                self.pending.start += 1;
                continue;
            }
            let slot = event.data() as usize;
            // A socket that was closed since has nothing to say; one that took its slot
            // would only not be ready.
            let connection = self.connections.get_mut(slot);
            let Some(socket) = connection.and_then(|connection| connection.socket.as_mut()) else {
                self.pending.start += 1;
                continue;
            };
            // First that, and then the rest of the same event.
            if event.events().contains(EpollFlags::EPOLLOUT) {
                let rest = event.events().difference(EpollFlags::EPOLLOUT);
                self.events[self.pending.start] = EpollEvent::new(rest, event.data());
                let watched = self.connections[slot].watched;
                if watched.contains(EpollFlags::EPOLLIN) {
                    if let Err(error) = self.watch(slot, EpollFlags::EPOLLIN) {
                        return Some(Event::Failed(slot, error));
                    }
                } else {
                    // Its connect has ended; what follows is for `receive` to ask for.
                    self.pending.start += 1;
                }
                return Some(Event::Room(slot));
            }
            self.pending.start += 1;
            // Errors and hang-ups show in the read.
            let readable = EpollFlags::EPOLLIN | EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
            if !event.events().intersects(readable) {
                continue;
            }
            match recv(&*socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => return Some(Event::Received(slot, &self.buffer[..length])),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Some(Event::Failed(slot, error.into())),
            }
        }
        None
    }
}

impl Epoll {
    fn watch(&mut self, slot: usize, events: EpollFlags) -> io::Result<()> {
        let connection = &mut self.connections[slot];
        let Some(socket) = &connection.socket else {
            return Ok(());
        };
        connection.watched = events;
        Ok(self
            .epoll
            .modify(socket, &mut EpollEvent::new(events, slot as u64))?)
    }

    fn arm(&mut self, time_ns: u64) -> io::Result<()> {
        if self.armed == Until::Time(time_ns) {
            return Ok(());
        }
        let absolute_ns = self.clock.monotonic_ns(time_ns);
        let time = TimeSpec::new(
            (absolute_ns / 1_000_000_000) as _,
            (absolute_ns % 1_000_000_000) as _,
        );
        self.timer
            .set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.armed = Until::Time(time_ns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_passed_is_not_waited_for_however_often() {
        let request = Request::new("127.0.0.1:1".parse().unwrap());
        let clock = Clock::start();
        let mut epoll = Epoll::new(&request, 0, clock).unwrap();
        let time_ns = clock.now_ns();
        for _ in 0..3 {
            epoll.wait(Until::Time(time_ns)).unwrap();
            assert!(epoll.next().is_none());
        }
    }
}
