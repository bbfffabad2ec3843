//! Readiness: `epoll_wait`, then a read or a write for each socket that is ready.

use std::io;
use std::net::{IpAddr, Shutdown};

use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{SockAddr, Socket};

use super::failure::Failure;
use super::interface::{Engine, Event, Until};
use super::socket;
use crate::clock::Monotonic;
use crate::pattern::LONGEST_PIECE;
use crate::plan::CheckedPlan;
use record::Transport;

/// Events taken from the kernel in one call.
const EVENTS: usize = 1024;

/// Identifies the timer; no slot has this number.
const TIMER: u64 = u64::MAX;

/// One epoll instance and its sockets.
pub struct Epoll {
    epoll: epoll::Epoll,
    /// `epoll_wait` counts milliseconds; this timer is precise to the microsecond.
    timer: TimerFd,
    armed: Until,
    clock: Monotonic,
    target: SockAddr,
    transport: Transport,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    events: Vec<EpollEvent>,
    /// The events that are not handled yet.
    pending: std::ops::Range<usize>,
}

struct Connection {
    socket: Option<Socket>,
    /// What epoll watches.
    watched: EpollFlags,
}

/// A free slot.
const FREE: fn() -> Connection = || Connection {
    socket: None,
    watched: EpollFlags::empty(),
};

impl<'a> Engine<'a> for Epoll {
    type Clock = Monotonic;

    fn connect(&mut self, slot: usize, source: Option<IpAddr>) -> io::Result<()> {
        let socket = socket::connect(&self.target, self.transport, source)?;
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

    fn established(&mut self, slot: usize) -> Result<(), Failure> {
        socket::outcome(self.socket(slot)?)?;
        Ok(self.watch(slot, EpollFlags::EPOLLIN)?)
    }

    fn shut_down(&mut self, slot: usize) -> io::Result<()> {
        self.socket(slot)?.shutdown(Shutdown::Write)
    }

    fn remove(&mut self, slot: usize) {
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
        // By the raw system call: the C library's is a cancellation point, which costs 2% of an
        // echo in a process of several threads.
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
                // It fires once and must be set again, even for the same time.
                self.armed = Until::Now;
                self.pending.start += 1;
                continue;
            }
            let slot = event.data() as usize;
            // The socket may have been closed meanwhile. A new one in its slot is just not
            // ready.
            let connection = self.connections.get_mut(slot);
            let Some(socket) = connection.and_then(|connection| connection.socket.as_mut()) else {
                self.pending.start += 1;
                continue;
            };
            // First that, then the rest of the same event.
            if event.events().contains(EpollFlags::EPOLLOUT) {
                let rest = event.events().difference(EpollFlags::EPOLLOUT);
                self.events[self.pending.start] = EpollEvent::new(rest, event.data());
                let watched = self.connections[slot].watched;
                if watched.contains(EpollFlags::EPOLLIN) {
                    if let Err(error) = self.watch(slot, EpollFlags::EPOLLIN) {
                        return Some(Event::Failed(slot, error));
                    }
                } else {
                    // Its connect has ended; `established` changes what is watched.
                    self.pending.start += 1;
                }
                return Some(Event::Room(slot));
            }
            self.pending.start += 1;
            // The read reports errors and hang-ups.
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
    /// One instance, for about `slots` slots.
    pub fn new(plan: &CheckedPlan, slots: usize, clock: Monotonic) -> io::Result<Self> {
        let epoll = epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        // Edge-triggered: an expiry is reported once, without a read.
        epoll.add(
            &timer,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER),
        )?;
        let (_, largest) = plan.sizes.bounds();
        Ok(Epoll {
            epoll,
            timer,
            armed: Until::Now,
            clock,
            target: plan.target.for_system(),
            transport: plan.transport,
            connections: std::iter::repeat_with(FREE).take(slots).collect(),
            buffer: vec![0; largest.clamp(64 * 1024, LONGEST_PIECE as u64) as usize],
            events: vec![EpollEvent::empty(); EVENTS],
            pending: 0..0,
        })
    }

    fn socket(&self, slot: usize) -> io::Result<&Socket> {
        let connection = self.connections.get(slot);
        let socket = connection.and_then(|connection| connection.socket.as_ref());
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

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
        let absolute_ns = self.clock.absolute_ns(time_ns);
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
    use crate::clock::Clock;

    #[test]
    fn a_time_that_has_passed_is_not_waited_for() {
        let target = "127.0.0.1:1".parse().unwrap();
        let plan = CheckedPlan::new(&record::Plan::default(), target).unwrap();
        let clock = Monotonic::start();
        let mut epoll = Epoll::new(&plan, 0, clock).unwrap();
        let time_ns = clock.now_ns();
        for _ in 0..3 {
            epoll.wait(Until::Time(time_ns)).unwrap();
            assert!(epoll.next().is_none());
        }
    }
}
