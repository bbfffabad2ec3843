//! Completion rings: `io_uring_setup(2)`, `io_uring_enter(2)`, `io_uring_register(2)`.
//!
//! What the kernel works on must stay where it is until it is done. So a [`Ring`] owns
//! all of it: the buffers of its pool, and every [`Payload`] while a request has it.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::num::NonZero;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Release};
use std::thread;
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::descriptor_map::DescriptorMap;

/// Requests that are gathered until the kernel is told: few, so that the queue stays in
/// the processor's cache; when it is full the kernel is told in between.
const SUBMISSIONS: u32 = 512;

/// Room for completions: one of each connection that a process can have.
const COMPLETIONS: u32 = 32 * 1024;

/// Most buffers of a ring: what the kernel takes.
const BUFFERS: u16 = 32 * 1024;

/// How long to leave the kernel alone when it is short of memory.
const PAUSE: Duration = Duration::from_millis(10);

/// The one group of provided buffers.
const GROUP: u16 = 0;

/// What a request is for, in the upper half of its number; the lower is the descriptor.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const RECEIVE_ONCE: u64 = 3;
const STOP_RECEIVING: u64 = 4;

/// Makes the smallest ring and drops it; the error says why there can be none.
pub fn probe() -> io::Result<()> {
    IoUring::new(1).map(drop).map_err(|error| explain(&error))
}

fn set_up(submissions: u32, completions: u32) -> io::Result<IoUring> {
    let ring = IoUring::builder()
        // Completions are worked off when the ring's thread asks for them, not by
        // interrupting it.
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_r_disabled()
        .setup_cqsize(completions)
        .build(submissions);
    ring.map_err(|error| explain(&error))
}

fn explain(error: &io::Error) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no io_uring, or a seccomp filter hides it",
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here, by `sysctl kernel.io_uring_disabled` or by a seccomp filter"
        }
        Some(libc::EINVAL) => "its io_uring needs Linux 6.1, and this kernel is older",
        _ => return io::Error::new(error.kind(), format!("no io_uring can be made: {error}")),
    };
    io::Error::new(error.kind(), reason)
}

/// An io_uring with a pool of buffers of memory to receive into.
pub struct Ring {
    ring: IoUring,
    pool: Pool,
    /// Requests that the kernel would not take yet.
    waiting: VecDeque<squeue::Entry>,
    /// What the requests for a stream have.
    in_flight: DescriptorMap<Payload>,
}

/// Bytes that were received, or are to be sent. One from the pool goes back to it when
/// it was sent, or with [`Ring::recycle`].
#[derive(Debug)]
#[must_use]
pub struct Payload {
    memory: Memory,
    sent: usize,
}

#[derive(Debug)]
enum Memory {
    Pooled(PoolBuffer),
    Owned(Vec<u8>),
}

/// A buffer of the pool that is filled up to `length`.
#[derive(Debug)]
struct PoolBuffer {
    number: u16,
    length: usize,
}

/// What the kernel has done; `more` says that it goes on without being asked again.
#[derive(Debug)]
pub enum Completion {
    /// Accepted a connection.
    Accepted {
        /// The connection, or an error as of accept(2).
        result: io::Result<TcpStream>,
        /// Whether the next one will be accepted too.
        more: bool,
    },
    /// Received.
    Received {
        /// The stream, by its descriptor.
        stream: RawFd,
        /// What came; `None` is the end of input.
        result: io::Result<Option<Payload>>,
        /// Whether it goes on receiving.
        more: bool,
    },
    /// Could not stop receiving just now.
    NotStopped {
        /// The stream, by its descriptor.
        stream: RawFd,
    },
    /// Sent, all of it or a part.
    Sent {
        /// The stream, by its descriptor.
        stream: RawFd,
        /// What is left to send; nothing once all is sent.
        result: io::Result<Option<Payload>>,
    },
}

impl Ring {
    /// A ring whose buffers hold `buffer` bytes each. It has none until some are
    /// [provided](Ring::provide), and belongs to nobody until it is [taken](Ring::take_over).
    ///
    /// Needs Linux 6.1. The error says what is missing.
    pub fn new(buffer: usize) -> io::Result<Self> {
        let ring = set_up(SUBMISSIONS, COMPLETIONS)?;
        let pool = Pool::new(buffer, &ring)?;
        Ok(Ring {
            ring,
            pool,
            waiting: VecDeque::new(),
            in_flight: DescriptorMap::default(),
        })
    }

    /// Whether there can be one here.
    pub fn probe() -> io::Result<()> {
        set_up(1, 2).map(drop)
    }

    /// Makes it the ring of the calling thread, and of no other from then on.
    pub fn take_over(&mut self) -> io::Result<()> {
        self.ring.submitter().register_enable_rings()
    }

    /// Sees to it that there are at least so many buffers, as far as a ring can have them.
    pub fn provide(&mut self, buffers: usize) {
        while usize::from(self.pool.provided) < buffers.min(BUFFERS.into()) {
            self.pool.add(self.pool.provided);
            self.pool.provided += 1;
        }
    }

    /// Accepts connections until it completes without `more`.
    pub fn accept(&mut self, listener: BorrowedFd) {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build().user_data(user_data(ACCEPT, listener.as_raw_fd())));
    }

    /// Receives into buffers of the pool until it completes without `more`.
    ///
    /// The stream must stay open until then; so with the other requests.
    pub fn receive(&mut self, stream: &TcpStream) {
        let receive = opcode::RecvMulti::new(Fd(stream.as_raw_fd()), GROUP).build();
        self.push(receive.user_data(user_data(RECEIVE, stream.as_raw_fd())));
    }

    /// Lets the receiving of a stream complete without `more`, which it does soon,
    /// unless [`Completion::NotStopped`] comes.
    pub fn stop_receiving(&mut self, stream: &TcpStream) {
        let stream = stream.as_raw_fd();
        let cancel = opcode::AsyncCancel::new(user_data(RECEIVE, stream)).build();
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(cancel.user_data(user_data(STOP_RECEIVING, stream)));
    }

    /// Receives once, at most `length` bytes, into memory of its own.
    pub fn receive_once(&mut self, stream: &TcpStream, length: usize) {
        let stream = stream.as_raw_fd();
        let mut memory = Vec::with_capacity(length);
        let receive = opcode::Recv::new(Fd(stream), memory.as_mut_ptr(), length as u32).build();
        self.keep(stream, memory.into());
        self.push(receive.user_data(user_data(RECEIVE_ONCE, stream)));
    }

    /// Sends; not while this stream is sending already, or receiving once.
    pub fn send(&mut self, stream: &TcpStream, payload: Payload) {
        let stream = stream.as_raw_fd();
        let bytes = self.bytes(&payload);
        let send = opcode::Send::new(Fd(stream), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.keep(stream, payload);
        self.push(send.user_data(user_data(SEND, stream)));
    }

    /// The bytes of a payload that are not sent.
    pub fn bytes<'a>(&'a self, payload: &'a Payload) -> &'a [u8] {
        let all = match &payload.memory {
            Memory::Pooled(buffer) => self.pool.bytes(buffer),
            Memory::Owned(bytes) => bytes,
        };
        &all[payload.sent..]
    }

    /// Gives up a payload; a buffer of the pool can be received into again.
    pub fn recycle(&mut self, payload: Payload) {
        if let Memory::Pooled(buffer) = payload.memory {
            self.pool.add(buffer.number);
        }
    }

    /// Tells the kernel what was asked for, and waits until something has completed, for
    /// ever without a `timeout`. A signal counts as nothing completed.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        while let Some(entry) = self.waiting.pop_front() {
            if !self.try_push(&entry) {
                self.waiting.push_front(entry);
                break;
            }
        }
        let result = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                let arguments = SubmitArgs::new().timespec(&time);
                self.ring.submitter().submit_with_args(1, &arguments)
            }
        };
        let Err(error) = result else { return Ok(()) };
        match error.raw_os_error() {
            // EBUSY: there is no room for more completions until some are taken.
            Some(libc::EINTR | libc::ETIME | libc::EBUSY) => {}
            // Memory is short for the moment.
            Some(libc::EAGAIN) => thread::sleep(PAUSE),
            _ => return Err(error),
        }
        Ok(())
    }

    /// The next completion, without waiting.
    pub fn completed(&mut self) -> Option<Completion> {
        let entry = self.ring.completion().next()?;
        let more = cqueue::more(entry.flags());
        let stream = entry.user_data() as RawFd;
        let result = result(&entry);
        Some(match entry.user_data() >> 32 {
            ACCEPT => Completion::Accepted {
                result: result.map(|fd| accepted(fd as RawFd)),
                more,
            },
            RECEIVE => Completion::Received {
                stream,
                result: result.map(|length| Some(PoolBuffer::of(&entry, length)?.into())),
                more,
            },
            RECEIVE_ONCE => Completion::Received {
                stream,
                result: self.received_once(stream, result),
                more,
            },
            SEND => Completion::Sent {
                stream,
                result: self.sent(stream, result),
            },
            _ => Completion::NotStopped { stream },
        })
    }

    fn received_once(&mut self, stream: RawFd, result: io::Result<usize>) -> io::Result<Option<Payload>> {
        let mut payload = self.release(stream);
        let length = result?;
        if let Memory::Owned(bytes) = &mut payload.memory {
            // SAFETY: the kernel has filled that many bytes of the capacity.
            unsafe { bytes.set_len(length) };
        }
        Ok((length > 0).then_some(payload))
    }

    fn sent(&mut self, stream: RawFd, result: io::Result<usize>) -> io::Result<Option<Payload>> {
        let mut payload = self.release(stream);
        if let Ok(length) = result {
            payload.sent += length;
            if !self.bytes(&payload).is_empty() {
                return Ok(Some(payload));
            }
        }
        self.recycle(payload);
        result.map(|_| None)
    }

    /// From here on nobody can reach the bytes, until the kernel is done with them.
    fn keep(&mut self, stream: RawFd, payload: Payload) {
        assert!(
            self.in_flight.find(stream).is_none(),
            "one payload of a stream at a time"
        );
        self.in_flight.insert(stream, payload);
    }

    fn release(&mut self, stream: RawFd) -> Payload {
        self.in_flight.remove(stream).expect("a request completes once")
    }

    fn push(&mut self, entry: squeue::Entry) {
        if self.waiting.is_empty() {
            if self.try_push(&entry) {
                return;
            }
            // Full. An error here comes again in `wait`, which returns it.
            let _ = self.ring.submit();
            if self.try_push(&entry) {
                return;
            }
        }
        self.waiting.push_back(entry);
    }

    /// Queues a request; `false` if the queue is full.
    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: what the entry points to is a descriptor, or a payload that this ring
        // keeps in its place until the kernel has completed the request.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }
}

impl Drop for Ring {
    /// Requests may outlive the ring by a moment, so what they have is not freed.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.in_flight));
    }
}

impl PoolBuffer {
    /// The buffer that the kernel has chosen; none if there was nothing to put into it.
    fn of(entry: &cqueue::Entry, length: usize) -> Option<Self> {
        let number = cqueue::buffer_select(entry.flags())?;
        Some(PoolBuffer { number, length })
    }
}

impl From<PoolBuffer> for Payload {
    fn from(buffer: PoolBuffer) -> Self {
        Payload {
            memory: Memory::Pooled(buffer),
            sent: 0,
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Payload {
            memory: Memory::Owned(bytes),
            sent: 0,
        }
    }
}

/// What a request is known by, to the kernel and in its completion.
fn user_data(kind: u64, fd: RawFd) -> u64 {
    kind << 32 | fd as u64
}

fn accepted(fd: RawFd) -> TcpStream {
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }.into()
}

/// A completion has a count, or the negative number of an error.
fn result(entry: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()))
}

/// The buffers, and the queue by which the kernel is given them.
///
/// Both are mapped once and never unmapped, since requests may outlive the ring.
struct Pool {
    buffer: usize,
    memory: NonNull<u8>,
    queue: NonNull<BufRingEntry>,
    /// Where the kernel reads how far the queue is filled.
    end: NonNull<AtomicU16>,
    tail: u16,
    /// Pieces that the kernel has been given at least once.
    provided: u16,
}

// SAFETY: the memory belongs to the pool alone, and no thread has a part in it.
unsafe impl Send for Pool {}

impl Pool {
    fn new(buffer: usize, ring: &IoUring) -> io::Result<Self> {
        let memory = map(buffer * usize::from(BUFFERS))?;
        let queue: NonNull<BufRingEntry> = map(size_of::<BufRingEntry>() * usize::from(BUFFERS))?.cast();
        // SAFETY: the mapping has room for that many entries, and is never unmapped.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(queue.as_ptr() as u64, BUFFERS, GROUP, 0)
        }?;
        // SAFETY: `queue` is the first entry of the queue, zeroed by the kernel.
        let end = unsafe { BufRingEntry::tail(queue.as_ptr()) };
        let end = NonNull::new(end.cast_mut().cast()).expect("it is inside the queue");
        Ok(Pool {
            buffer,
            memory,
            queue,
            end,
            tail: 0,
            provided: 0,
        })
    }

    /// Gives the kernel a buffer that is not in use.
    fn add(&mut self, number: u16) {
        let entry = self.queue.as_ptr().wrapping_add((self.tail % BUFFERS).into());
        // SAFETY: it is within the queue, where the kernel reads what is before the end only.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.start(number) as u64);
        entry.set_len(self.buffer as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the kernel reads this field of the mapped queue, and nobody writes it else.
        unsafe { self.end.as_ref() }.store(self.tail, Release);
    }

    fn bytes(&self, buffer: &PoolBuffer) -> &[u8] {
        let start = self.start(buffer.number);
        // SAFETY: the kernel has filled `length` bytes of the buffer, and does not touch it
        // while a `PoolBuffer` stands for it.
        unsafe { std::slice::from_raw_parts(start, buffer.length) }
    }

    fn start(&self, number: u16) -> *const u8 {
        let offset = usize::from(number) * self.buffer;
        self.memory.as_ptr().wrapping_add(offset)
    }
}

/// Memory that takes up room only where it is used.
fn map(length: usize) -> io::Result<NonNull<u8>> {
    let length = NonZero::new(length).ok_or(io::ErrorKind::InvalidInput)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: the kernel chooses a free place.
    let memory = unsafe { mmap_anonymous(None, length, protection, flags) }?;
    Ok(memory.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_refuses_is_explained() {
        let said = |errno| explain(&io::Error::from_raw_os_error(errno)).to_string();
        assert!(said(libc::EPERM).contains("io_uring_disabled"));
        assert!(said(libc::ENOSYS).contains("no io_uring"));
        assert!(said(libc::EINVAL).contains("Linux 6.1"));
        assert!(said(libc::ENOMEM).contains("memory"));
    }
}
