//! Completion: io_uring. Multishot receives into provided buffers, and sends that are gathered
//! and submitted in one system call together with the wait.

#![allow(unsafe_code, reason = "the kernel reads and writes memory of this process")]

mod pool;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::{IpAddr, Shutdown};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::{SockAddr, Socket};

use super::failure::Failure;
use super::interface::{Engine, Event, Until};
use super::socket;
use crate::clock::{Clock, Monotonic};
use crate::plan::CheckedPlan;
use pool::{GROUP, Pool};
use record::Transport;

/// Requests that are submitted in one call; more take a second one.
const SUBMISSIONS: u32 = 4096;

/// The largest completion queue that the kernel allows.
const MOST_COMPLETIONS: usize = 65_536;

/// The smallest buffer: small messages often arrive together.
const SMALLEST_BUFFER: usize = 2048;

/// The largest: more per system call gains nothing.
const LARGEST_BUFFER: usize = 64 * 1024;

/// The most memory for buffers.
const MEMORY: usize = 32 << 20;

/// Pause before the next attempt when the kernel is short of memory.
const PAUSE: Duration = Duration::from_millis(10);

/// The kind of a request: bits 56 to 63 of its number. Below are the generation of the socket,
/// in 24 bits, and its slot.
const ROOM: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

/// One ring and its sockets.
pub struct Uring<'a> {
    ring: IoUring,
    pool: Pool,
    clock: Monotonic,
    target: SockAddr,
    transport: Transport,
    connections: Vec<Connection>,
    /// Requests that did not fit into the submission queue.
    waiting: VecDeque<squeue::Entry>,
    /// Closed sockets that queued requests still name. Their descriptors must not be reused yet.
    closing: Vec<Socket>,
    /// Slots that already have a send in this batch.
    early: Vec<(usize, u32)>,
    /// How many of them, from the front, may send now.
    late: usize,
    /// The number of the batch that is being gathered.
    batch: u64,
    /// Completions that are not handled yet.
    completed: VecDeque<cqueue::Entry>,
    /// Slots whose send was cut short, and by how many bytes.
    returned: Vec<(usize, u32, usize)>,
    /// The buffer of the event that is being handled.
    held: Option<u16>,
    sends: PhantomData<&'a [u8]>,
}

#[derive(Default)]
struct Connection {
    socket: Option<Socket>,
    /// Tells the completions of this socket from those of earlier ones in the slot.
    generation: u32,
    /// The last batch with a send of this socket.
    batch: u64,
    /// Bytes in that send.
    sending: usize,
    /// Whether the kernel will report when there is room.
    blocked: bool,
}

impl<'a> Engine<'a> for Uring<'a> {
    type Clock = Monotonic;

    fn connect(&mut self, slot: usize, source: Option<IpAddr>) -> io::Result<()> {
        let socket = socket::connect(&self.target, self.transport, source)?;
        if slot >= self.connections.len() {
            self.connections.resize_with(slot + 1, Connection::default);
        }
        self.connections[slot].socket = Some(socket);
        self.await_room(slot);
        Ok(())
    }

    fn established(&mut self, slot: usize) -> Result<(), Failure> {
        socket::outcome(self.socket(slot)?)?;
        self.receive(slot);
        Ok(())
    }

    fn shut_down(&mut self, slot: usize) -> io::Result<()> {
        self.socket(slot)?.shutdown(Shutdown::Write)
    }

    fn remove(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        connection.generation = (connection.generation + 1) % (1 << 24);
        connection.blocked = false;
        if let Some(socket) = connection.socket.take() {
            // A pending receive keeps the socket open in the kernel; this ends the receive. It
            // fails if the peer has already ended the connection, which has the same effect.
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
        // If the first did not fit, a second could overtake the rest of it.
        if connection.batch == self.batch {
            self.early.push((slot, connection.generation));
            return Ok(0);
        }
        connection.batch = self.batch;
        connection.sending = bytes.len();
        // What does not fit is returned (MSG_DONTWAIT). Only such sends produce a completion
        // (SKIP_SUCCESS), since MSG_WAITALL makes a partial send a failure.
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
        // If the completion queue has to be emptied first, the rest waits for the next turn.
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
        // Errors of closed sockets do not matter.
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
                            // Borrowing the buffer inside `received` would borrow all of `self`.
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
                // The others are in `returned`.
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

/// The result of a receive.
enum Outcome {
    Bytes(u16, usize),
    End,
    Failure(io::Error),
}

impl Uring<'_> {
    /// One ring, for about `slots` slots.
    pub fn new(plan: &CheckedPlan, slots: usize, clock: Monotonic) -> io::Result<Self> {
        let ring = IoUring::builder()
            // Completions are processed when this thread asks for them and do not interrupt it.
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize((4 * slots).next_power_of_two().clamp(8192, MOST_COMPLETIONS) as u32)
            .build(SUBMISSIONS)
            .map_err(|error| explain(&error))?;
        let (_, largest) = plan.sizes.bounds();
        let size = match plan.transport {
            Transport::Tcp => (largest as usize).clamp(SMALLEST_BUFFER, LARGEST_BUFFER),
            // One byte more, to detect a datagram that is too long.
            Transport::Udp => (largest as usize + 1).max(SMALLEST_BUFFER),
        };
        let pool = Pool::new(&ring, (2 * slots).clamp(256, MEMORY / size), size)?;
        Ok(Uring {
            ring,
            pool,
            clock,
            target: plan.target.for_system(),
            transport: plan.transport,
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

    fn socket(&self, slot: usize) -> io::Result<&Socket> {
        let connection = self.connections.get(slot);
        let socket = connection.and_then(|connection| connection.socket.as_ref());
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Receives from now on whatever comes.
    fn receive(&mut self, slot: usize) {
        let number = self.number(RECEIVE, slot);
        if let Some(fd) = self.descriptor(slot) {
            self.push(opcode::RecvMulti::new(fd, GROUP).build().user_data(number));
        }
    }

    /// The result of a receive, if there is one. Starts the next receive if this was the last
    /// of its plan.
    fn received(&mut self, slot: usize, entry: &cqueue::Entry) -> Option<Outcome> {
        let ended = !cqueue::more(entry.flags());
        let outcome = match (entry.result(), self.held) {
            (length @ 1.., Some(number)) => Some(Outcome::Bytes(number, length as usize)),
            (0, _) => Some(Outcome::End),
            // The next receive works once buffers have been given back.
            (result, _) if -result == libc::ENOBUFS => None,
            (result, _) => return Some(Outcome::Failure(io::Error::from_raw_os_error(-result))),
        };
        let is_over = matches!(outcome, Some(Outcome::End)) && self.transport == Transport::Tcp;
        if ended && !is_over {
            self.receive(slot);
        }
        outcome
    }

    /// Takes the completions, and handles the sends that were cut short at once: nothing else
    /// may be sent on those sockets before there is room, or it would overtake the rest.
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
                // `next` reports it in its turn; until then nothing is sent.
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

    /// Queues a request. Only `wait` submits, so nothing completes unseen between two sends of
    /// the same socket.
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
        // SAFETY: the descriptor of an entry stays open until the entry is submitted, and the
        // only memory that it names lives for 'a and is read during submission.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Submits what was gathered and processes what has completed, without waiting.
    fn submit_and_look(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let gathered = self.ring.submission().len() as u32;
        // SAFETY: no argument is a pointer, and the entries are valid as in `try_push`.
        unsafe { self.ring.submitter().enter::<()>(gathered, 0, GETEVENTS, None) }
    }
}

impl Drop for Uring<'_> {
    fn drop(&mut self) {
        self.pool.close(&self.ring);
    }
}

/// Results that are no errors of the ring: a time-out, a signal, and a completion queue that
/// has to be emptied first.
fn check(result: io::Result<usize>) -> io::Result<()> {
    let Err(error) = result else { return Ok(()) };
    match error.raw_os_error() {
        Some(libc::EINTR | libc::ETIME | libc::EBUSY) => Ok(()),
        // The kernel is short of memory for the moment.
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
        Some(libc::ENOMEM) => "the limit of locked memory is too low (`ulimit -l`)",
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
    fn a_refusal_of_the_kernel_is_explained_with_a_way_out() {
        for (errno, reason) in [
            (libc::EPERM, "io_uring_disabled"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::EIO, "cannot start"),
        ] {
            let message = explain(&io::Error::from_raw_os_error(errno)).to_string();
            assert!(
                message.contains(reason) && message.contains("--engine epoll"),
                "{message}"
            );
        }
    }
}
