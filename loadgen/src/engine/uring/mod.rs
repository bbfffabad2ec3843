//! Completion: io_uring. Receives that go on by themselves into provided buffers, and sends
//! that are gathered and handed over in one system call with the wait for what comes.

#![allow(unsafe_code, reason = "the kernel is given memory to read and to fill")]

mod pool;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::Socket;

use super::{Engine, Event, Until};
use crate::clock::Clock;
use crate::plan::Request;
use pool::{GROUP, Pool};
use record::Transport;

/// Requests that are handed over at once; those beyond are in a second call.
const SUBMISSIONS: u32 = 4096;

/// The most completions there is room for: what the kernel allows.
const MOST_COMPLETIONS: usize = 65_536;

/// The smallest buffer: what arrives together of small messages.
const SMALLEST_BUFFER: usize = 2048;

/// The largest: one system call for more gains nothing.
const LARGEST_BUFFER: usize = 64 * 1024;

/// Memory for buffers, at most.
const MEMORY: usize = 32 << 20;

/// How long to leave the kernel alone when it is short of memory.
const PAUSE: Duration = Duration::from_millis(10);

/// What a request is for: bits 56 to 63 of its number. Below are the generation of the
/// socket, in 24 bits, and its slot.
const ROOM: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

/// One ring and its sockets.
pub struct Uring<'a> {
    ring: IoUring,
    pool: Pool,
    clock: Clock,
    transport: Transport,
    connections: Vec<Connection>,
    /// Requests that there was no room for among those to submit.
    waiting: VecDeque<squeue::Entry>,
    /// Sockets that requests still name, which would else go to whoever has their
    /// descriptor next.
    closing: Vec<Socket>,
    /// Slots whose send came too early, since one was gathered already.
    early: Vec<(usize, u32)>,
    /// How many of them, from the front, there is room for by now.
    late: usize,
    /// The number of this gathering of requests.
    batch: u64,
    /// What has completed and is still to be looked at.
    completed: VecDeque<cqueue::Entry>,
    /// Slots whose send was not taken whole, and how many bytes of it were not.
    returned: Vec<(usize, u32, usize)>,
    /// The buffer of the event that is being looked at.
    held: Option<u16>,
    sends: PhantomData<&'a [u8]>,
}

#[derive(Default)]
struct Connection {
    socket: Option<Socket>,
    /// Tells the completions of this socket from those of the ones before it in the slot.
    generation: u32,
    /// The gathering that has a send of this socket.
    batch: u64,
    /// Bytes in that send.
    sending: usize,
    /// Whether the kernel will say when there is room.
    blocked: bool,
}

impl<'a> Engine<'a> for Uring<'a> {
    fn new(request: &Request, slots: usize, clock: Clock) -> io::Result<Self> {
        let ring = IoUring::builder()
            // Completions are worked off when this thread asks for them, not by
            // interrupting it.
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize((4 * slots).next_power_of_two().clamp(8192, MOST_COMPLETIONS) as u32)
            .build(SUBMISSIONS)
            .map_err(|error| explain(&error))?;
        let (_, largest) = request.sizes.bounds();
        let size = match request.transport {
            Transport::Tcp => (largest as usize).clamp(SMALLEST_BUFFER, LARGEST_BUFFER),
            // One byte more, so that a datagram that is too long shows.
            Transport::Udp => (largest as usize + 1).max(SMALLEST_BUFFER),
        };
        let pool = Pool::new(&ring, (2 * slots).clamp(256, MEMORY / size), size)?;
        Ok(Uring {
            ring,
            pool,
            clock,
            transport: request.transport,
            connections: std::iter::repeat_with(Connection::default).take(slots).collect(),
            waiting: VecDeque::new(),
            closing: Vec::new(),
            early: Vec::new(),
            late: 0,
            batch: 1,
            completed: VecDeque::new(),
            returned: Vec::new(),
            held: None,
            sends: PhantomData,
        })
    }

    fn add(&mut self, slot: usize, socket: Socket) -> io::Result<()> {
        if slot >= self.connections.len() {
            self.connections.resize_with(slot + 1, Connection::default);
        }
        let connection = &mut self.connections[slot];
        connection.socket = Some(socket);
        self.await_room(slot);
        Ok(())
    }

    fn receive(&mut self, slot: usize) -> io::Result<()> {
        let number = self.number(RECEIVE, slot);
        if let Some(fd) = self.descriptor(slot) {
            self.push(opcode::RecvMulti::new(fd, GROUP).build().user_data(number));
        }
        Ok(())
    }

    fn socket(&self, slot: usize) -> Option<&Socket> {
        self.connections[slot].socket.as_ref()
    }

    fn remove(&mut self, slot: usize) {
        // One that could not even be begun was never added.
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        connection.generation = (connection.generation + 1) % (1 << 24);
        connection.blocked = false;
        if let Some(socket) = connection.socket.take() {
            // The kernel has the socket open as long as it receives; this ends it. It fails
            // where the peer has ended the connection already, which does so too.
            let _ = socket.shutdown(Shutdown::Both);
            self.closing.push(socket);
        }
    }

    fn send(&mut self, slot: usize, bytes: &'a [u8]) -> io::Result<usize> {
        let number = self.number(SEND, slot);
        let Some(fd) = self.descriptor(slot) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let connection = &mut self.connections[slot];
        if connection.blocked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Two at a time could overtake each other, if the first did not fit.
        if connection.batch == self.batch {
            self.early.push((slot, connection.generation));
            return Ok(0);
        }
        connection.batch = self.batch;
        connection.sending = bytes.len();
        // What does not fit at once is returned (MSG_DONTWAIT), and only that completes:
        // with MSG_WAITALL a send in part counts as a failure.
        let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(send.user_data(number));
        Ok(bytes.len())
    }

    fn wait(&mut self, until: Until) -> io::Result<()> {
        let until = match self.early.is_empty() {
            true => until,
            false => Until::Now,
        };
        self.late = self.early.len();
        // Those that are left then, since completions have to be taken first, have the next
        // turn.
        self.gather_waiting();
        for _ in 0..self.waiting.len().div_ceil(SUBMISSIONS as usize) {
            check(self.ring.submit())?;
            self.gather_waiting();
        }
        let timeout = match until {
            Until::Now => None,
            Until::About(milliseconds) => Some(Duration::from_millis(milliseconds.into())),
            Until::Time(time_ns) => Some(Duration::from_nanos(time_ns.saturating_sub(self.clock.now_ns()))),
        };
        let result = match timeout {
            None => self.submit_and_look(),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                let arguments = SubmitArgs::new().timespec(&time);
                self.ring.submitter().submit_with_args(1, &arguments)
            }
        };
        self.batch += 1;
        // Errors of those that were closed are nobody's business.
        if self.waiting.is_empty() && self.ring.submission().is_empty() {
            self.closing.clear();
        }
        self.take_completions();
        check(result)
    }

    fn next(&mut self) -> Option<Event<'_>> {
        if let Some(number) = self.held.take() {
            self.pool.give_back(number);
        }
        while let Some((slot, generation, length)) = self.returned.pop() {
            if self.connections[slot].generation == generation {
                return Some(Event::Returned(slot, length));
            }
        }
        while self.late > 0 {
            self.late -= 1;
            let (slot, generation) = self.early.swap_remove(self.late);
            let connection = &self.connections[slot];
            if connection.generation == generation && !connection.blocked {
                return Some(Event::Room(slot));
            }
        }
        loop {
            let entry = self.completed.pop_front()?;
            let slot = entry.user_data() as u32 as usize;
            let is_current = self.number(entry.user_data() >> 56, slot) == entry.user_data();
            match entry.user_data() >> 56 {
                RECEIVE => {
                    self.held = cqueue::buffer_select(entry.flags());
                    if is_current {
                        if let Some(event) = self.received(slot, &entry) {
                            // The borrow of what was received ends with `self` otherwise.
                            return Some(match event {
                                Outcome::Bytes(number, length) => {
                                    Event::Received(slot, self.pool.filled(number, length))
                                }
                                Outcome::End => Event::Received(slot, &[]),
                                Outcome::Failure(error) => Event::Failed(slot, error),
                            });
                        }
                    } else if let Some(number) = self.held.take() {
                        self.pool.give_back(number);
                    }
                }
                // The others are among those that were returned.
                SEND if is_current && entry.result() < 0 && -entry.result() != libc::EAGAIN => {
                    return Some(Event::Failed(slot, io::Error::from_raw_os_error(-entry.result())));
                }
                ROOM if is_current => {
                    self.connections[slot].blocked = false;
                    return Some(Event::Room(slot));
                }
                _ => {}
            }
        }
    }
}

/// What came of a receive.
enum Outcome {
    Bytes(u16, usize),
    End,
    Failure(io::Error),
}

impl Uring<'_> {
    /// What a receive has brought, if that is anything; sees to it that it goes on.
    fn received(&mut self, slot: usize, entry: &cqueue::Entry) -> Option<Outcome> {
        let ended = !cqueue::more(entry.flags());
        let outcome = match (entry.result(), self.held) {
            (length @ 1.., Some(number)) => Some(Outcome::Bytes(number, length as usize)),
            (0, _) => Some(Outcome::End),
            // It goes on once some of what was received is given back.
            (result, _) if -result == libc::ENOBUFS => None,
            (result, _) => return Some(Outcome::Failure(io::Error::from_raw_os_error(-result))),
        };
        let is_over = matches!(outcome, Some(Outcome::End)) && self.transport == Transport::Tcp;
        if ended && !is_over {
            // It only queues a request.
            let _ = self.receive(slot);
        }
        outcome
    }

    /// Takes what has completed, and looks at once at the sends that were not taken whole:
    /// nothing else may be sent on those sockets before there is room, or it would overtake
    /// what is left.
    fn take_completions(&mut self) {
        self.completed.extend(self.ring.completion());
        for at in 0..self.completed.len() {
            let entry = &self.completed[at];
            let (number, result) = (entry.user_data(), entry.result());
            let slot = number as u32 as usize;
            if number >> 56 != SEND || self.number(SEND, slot) != number {
                continue;
            }
            let sent = match result {
                0.. => result as usize,
                _ if -result == libc::EAGAIN => 0,
                // It is looked at in its turn, and nothing is sent until then.
                _ => {
                    self.connections[slot].blocked = true;
                    continue;
                }
            };
            let connection = &self.connections[slot];
            let returned = (slot, connection.generation, connection.sending - sent);
            self.returned.push(returned);
            self.await_room(slot);
        }
    }

    fn await_room(&mut self, slot: usize) {
        let number = self.number(ROOM, slot);
        if let Some(fd) = self.descriptor(slot) {
            self.connections[slot].blocked = true;
            let poll = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
            self.push(poll.user_data(number));
        }
    }

    fn number(&self, kind: u64, slot: usize) -> u64 {
        kind << 56 | u64::from(self.connections[slot].generation) << 32 | slot as u64
    }

    fn descriptor(&self, slot: usize) -> Option<Fd> {
        self.connections[slot]
            .socket
            .as_ref()
            .map(|socket| Fd(socket.as_raw_fd()))
    }

    /// Gathers a request; what is gathered is handed over by `wait` alone, so that nothing
    /// completes between a send and the next one of the same socket unseen.
    fn push(&mut self, entry: squeue::Entry) {
        if !self.waiting.is_empty() || !self.try_push(&entry) {
            self.waiting.push_back(entry);
        }
    }

    fn gather_waiting(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            if !self.try_push(&entry) {
                self.waiting.push_front(entry);
                return;
            }
        }
    }

    /// Queues a request; `false` if the queue is full.
    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: an entry names a descriptor that is open until it was submitted, and of
        // memory only bytes that live for 'a and are read when it is submitted, at once.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Hands over what was gathered and works off what has completed, without waiting.
    fn submit_and_look(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let gathered = self.ring.submission().len() as u32;
        // SAFETY: there is no argument that could point anywhere, and what was gathered is as
        // `try_push` has it.
        unsafe { self.ring.submitter().enter::<()>(gathered, 0, GETEVENTS, None) }
    }
}

impl Drop for Uring<'_> {
    fn drop(&mut self) {
        self.pool.close(&self.ring);
    }
}

/// What is no error of the ring: that nothing came in time, that a signal came, and that
/// there is no room for more completions until some are taken.
fn check(result: io::Result<usize>) -> io::Result<()> {
    let Err(error) = result else { return Ok(()) };
    match error.raw_os_error() {
        Some(libc::EINTR | libc::ETIME | libc::EBUSY) => Ok(()),
        // Memory is short for the moment.
        Some(libc::EAGAIN) => {
            thread::sleep(PAUSE);
            Ok(())
        }
        _ => Err(error),
    }
}

fn explain(error: &io::Error) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no io_uring",
        Some(libc::EPERM | libc::EACCES) => {
            "`sysctl kernel.io_uring_disabled` or a seccomp filter forbids it"
        }
        Some(libc::EINVAL) => "it needs Linux 6.1, and this kernel is older",
        Some(libc::ENOMEM) => "there is not enough memory that may be locked (`ulimit -l`)",
        _ => {
            return io::Error::new(
                error.kind(),
                format!("the io_uring engine cannot start: {error}; use --engine epoll"),
            );
        }
    };
    io::Error::new(
        error.kind(),
        format!("the io_uring engine cannot start: {reason}; use --engine epoll"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_refuses_is_explained_with_the_way_out() {
        for (errno, reason) in [
            (libc::EPERM, "io_uring_disabled"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::EIO, "cannot start"),
        ] {
            let said = explain(&io::Error::from_raw_os_error(errno)).to_string();
            assert!(said.contains(reason) && said.contains("--engine epoll"), "{said}");
        }
    }
}
