//! Completion rings: `io_uring_setup(2)`, `io_uring_enter(2)`, `io_uring_register(2)`.
//!
//! The kernel's buffers must stay in place until a request is done. A [`Ring`] therefore
//! owns them all: its pool, and every [`Payload`] of a request in progress.

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

/// Size of the submission queue: small, so that it stays in the cache. When it is full, the
/// ring submits early.
const SUBMISSIONS: u32 = 512;

/// Size of the completion queue: one entry per connection that a process can have.
const COMPLETIONS: u32 = 32 * 1024;

/// Maximum number of pool buffers: the limit of the kernel.
const BUFFERS: u16 = 32 * 1024;

/// Pause after the kernel has run short of memory.
const PAUSE: Duration = Duration::from_millis(10);

/// The only group of provided buffers.
const GROUP: u16 = 0;

/// Kinds of requests, in the upper half of the user data; the lower half is the descriptor.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const RECEIVE_ONCE: u64 = 3;
const STOP_RECEIVING: u64 = 4;
const LISTENER_END: u64 = 5;

/// Tests whether a ring can be created; the error gives the reason if not.
pub fn probe() -> io::Result<()> {
    IoUring::new(1).map(drop).map_err(|error| explain(&error))
}

fn set_up(submissions: u32, completions: u32) -> io::Result<IoUring> {
    let ring = IoUring::builder()
        // Process completions when the ring's thread asks for them, without interrupting it.
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
            "io_uring is disabled by `sysctl kernel.io_uring_disabled` or a seccomp filter"
        }
        Some(libc::ENOMEM) => {
            "there is too little memory for an io_uring, or the limit of locked memory is too low: raise it \
             (`ulimit -l`, LimitMEMLOCK= of a service)"
        }
        Some(libc::EINVAL) => "this model needs the io_uring of Linux 6.1 or later",
        _ => return io::Error::new(error.kind(), format!("cannot create an io_uring: {error}")),
    };
    io::Error::new(error.kind(), reason)
}

/// An io_uring with a pool of buffers to receive into.
pub struct Ring {
    ring: IoUring,
    pool: Pool,
    /// Requests that did not fit into the submission queue.
    waiting: VecDeque<squeue::Entry>,
    /// The payloads of requests in progress, by stream.
    in_flight: DescriptorMap<Payload>,
}

/// Received bytes, or bytes to send. A pool buffer returns to the pool when it is sent, or
/// with [`Ring::recycle`].
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

/// A pool buffer that is filled up to `length`.
#[derive(Debug)]
struct PoolBuffer {
    number: u16,
    length: usize,
}

/// A completion. With `more`, the request continues and completes again.
#[derive(Debug)]
pub enum Completion {
    /// An accept completed.
    Accepted {
        /// The connection, or an error of accept(2).
        result: io::Result<TcpStream>,
        /// Whether the request goes on accepting.
        more: bool,
    },
    /// The listener was shut down.
    ListenerEnded,
    /// A receive completed.
    Received {
        /// The descriptor of the stream.
        stream: RawFd,
        /// The received bytes; `None` at the end of input.
        result: io::Result<Option<Payload>>,
        /// Whether the request goes on receiving.
        more: bool,
    },
    /// A receive could not be cancelled just now.
    NotStopped {
        /// The descriptor of the stream.
        stream: RawFd,
    },
    /// A send completed, fully or in part.
    Sent {
        /// The descriptor of the stream.
        stream: RawFd,
        /// The unsent rest; `None` once all is sent.
        result: io::Result<Option<Payload>>,
    },
}

impl Ring {
    /// A ring whose pool buffers hold `buffer` bytes each. It starts without buffers
    /// ([`Ring::provide`] adds them) and disabled ([`Ring::take_over`] enables it).
    ///
    /// Needs Linux 6.1; the error gives the reason if the host does not support it.
    pub fn new(buffer: usize) -> io::Result<Self> {
        let ring = set_up(SUBMISSIONS, COMPLETIONS)?;
        let pool = Pool::new(buffer, &ring).map_err(|error| explain(&error))?;
        Ok(Ring {
            ring,
            pool,
            waiting: VecDeque::new(),
            in_flight: DescriptorMap::default(),
        })
    }

    /// Tests whether this host supports such a ring.
    pub fn probe() -> io::Result<()> {
        set_up(1, 2).map(drop)
    }

    /// Enables the ring, for the calling thread only.
    pub fn take_over(&mut self) -> io::Result<()> {
        self.ring.submitter().register_enable_rings()
    }

    /// Grows the pool to at least `buffers`, up to the maximum.
    pub fn provide(&mut self, buffers: usize) {
        while usize::from(self.pool.provided) < buffers.min(BUFFERS.into()) {
            self.pool.add(self.pool.provided);
            self.pool.provided += 1;
        }
    }

    /// Accepts connections until a completion without `more`.
    pub fn accept(&mut self, listener: BorrowedFd) {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build().user_data(user_data(ACCEPT, listener.as_raw_fd())));
    }

    /// Completes once the listener is shut down, which does not end an accept on a Unix socket.
    pub fn watch_end(&mut self, listener: BorrowedFd) {
        let fd = listener.as_raw_fd();
        let watch = opcode::PollAdd::new(Fd(fd), libc::POLLRDHUP as u32).build();
        self.push(watch.user_data(user_data(LISTENER_END, fd)));
    }

    /// Receives into pool buffers until a completion without `more`.
    ///
    /// The stream must stay open until then. This holds for the other requests too.
    pub fn receive(&mut self, stream: &TcpStream) {
        let receive = opcode::RecvMulti::new(Fd(stream.as_raw_fd()), GROUP).build();
        self.push(receive.user_data(user_data(RECEIVE, stream.as_raw_fd())));
    }

    /// Cancels the receive of a stream, which then completes soon without `more`, unless
    /// [`Completion::NotStopped`] reports a failure.
    pub fn stop_receiving(&mut self, stream: &TcpStream) {
        let stream = stream.as_raw_fd();
        let cancel = opcode::AsyncCancel::new(user_data(RECEIVE, stream)).build();
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(cancel.user_data(user_data(STOP_RECEIVING, stream)));
    }

    /// Receives once, up to `length` bytes, into a new buffer.
    pub fn receive_once(&mut self, stream: &TcpStream, length: usize) {
        let stream = stream.as_raw_fd();
        let mut memory = Vec::with_capacity(length);
        let receive = opcode::Recv::new(Fd(stream), memory.as_mut_ptr(), length as u32).build();
        self.keep(stream, memory.into());
        self.push(receive.user_data(user_data(RECEIVE_ONCE, stream)));
    }

    /// Sends. The stream must have no other send and no single receive in progress.
    pub fn send(&mut self, stream: &TcpStream, payload: Payload) {
        let stream = stream.as_raw_fd();
        let bytes = self.bytes(&payload);
        let send = opcode::Send::new(Fd(stream), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.keep(stream, payload);
        self.push(send.user_data(user_data(SEND, stream)));
    }

    /// The unsent bytes of a payload.
    pub fn bytes<'a>(&'a self, payload: &'a Payload) -> &'a [u8] {
        let all = match &payload.memory {
            Memory::Pooled(buffer) => self.pool.bytes(buffer),
            Memory::Owned(bytes) => bytes,
        };
        &all[payload.sent..]
    }

    /// Drops a payload; returns a pool buffer to the pool.
    pub fn recycle(&mut self, payload: Payload) {
        if let Memory::Pooled(buffer) = payload.memory {
            self.pool.add(buffer.number);
        }
    }

    /// Submits the queued requests and waits for a completion; waits for ever without a
    /// `timeout`. Returns without a completion after a signal.
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
            // EBUSY: the completion queue is full until some completions are taken.
            Some(libc::EINTR | libc::ETIME | libc::EBUSY) => {}
            // Memory is short.
            Some(libc::EAGAIN) => thread::sleep(PAUSE),
            _ => return Err(error),
        }
        Ok(())
    }

    /// Takes the next completion, without waiting.
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
            LISTENER_END => Completion::ListenerEnded,
            _ => Completion::NotStopped { stream },
        })
    }

    fn received_once(&mut self, stream: RawFd, result: io::Result<usize>) -> io::Result<Option<Payload>> {
        let mut payload = self.release(stream);
        let length = result?;
        if let Memory::Owned(bytes) = &mut payload.memory {
            // SAFETY: the kernel has filled this many bytes of the capacity.
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

    /// Makes a payload inaccessible until the kernel is done with it.
    fn keep(&mut self, stream: RawFd, payload: Payload) {
        assert!(
            self.in_flight.find(stream).is_none(),
            "one payload per stream at a time"
        );
        self.in_flight.insert(stream, payload);
    }

    fn release(&mut self, stream: RawFd) -> Payload {
        self.in_flight
            .remove(stream)
            .expect("a request completes only once")
    }

    fn push(&mut self, entry: squeue::Entry) {
        if self.waiting.is_empty() {
            if self.try_push(&entry) {
                return;
            }
            // The queue is full. `wait` repeats an error of this call and returns it.
            let _ = self.ring.submit();
            if self.try_push(&entry) {
                return;
            }
        }
        self.waiting.push_back(entry);
    }

    /// Queues a request; `false` if the queue is full.
    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the entry refers to a descriptor, or to a payload that this ring keeps in
        // place until the kernel has completed the request.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }
}

impl Drop for Ring {
    /// Requests may briefly outlive the ring, so their payloads are leaked.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.in_flight));
    }
}

impl PoolBuffer {
    /// The buffer that the kernel has chosen; `None` if it had no data to store.
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

/// Identifies a request to the kernel and in its completion.
fn user_data(kind: u64, fd: RawFd) -> u64 {
    kind << 32 | fd as u64
}

fn accepted(fd: RawFd) -> TcpStream {
    // SAFETY: the kernel has just created this descriptor, and it has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }.into()
}

/// Converts the result of a completion: a count, or the negative number of an error.
fn result(entry: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()))
}

/// The pool buffers, and the queue that provides them to the kernel.
///
/// Both are never unmapped, since requests may outlive the ring.
struct Pool {
    buffer: usize,
    memory: NonNull<u8>,
    queue: NonNull<BufRingEntry>,
    /// The tail of the queue, which the kernel reads.
    ring_tail: NonNull<AtomicU16>,
    tail: u16,
    /// The number of buffers that have been provided at least once.
    provided: u16,
}

// SAFETY: the pool alone owns the memory, which is not tied to a thread.
unsafe impl Send for Pool {}

impl Pool {
    fn new(buffer: usize, ring: &IoUring) -> io::Result<Self> {
        let memory = map(buffer * usize::from(BUFFERS))?;
        let queue: NonNull<BufRingEntry> = map(size_of::<BufRingEntry>() * usize::from(BUFFERS))?.cast();
        // SAFETY: the mapping has room for this many entries and is never unmapped.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(queue.as_ptr() as u64, BUFFERS, GROUP, 0)
        }?;
        // SAFETY: `queue` is the first entry of the queue, zeroed by the kernel.
        let ring_tail = unsafe { BufRingEntry::tail(queue.as_ptr()) };
        let ring_tail = NonNull::new(ring_tail.cast_mut().cast()).expect("it is inside the queue");
        Ok(Pool {
            buffer,
            memory,
            queue,
            ring_tail,
            tail: 0,
            provided: 0,
        })
    }

    /// Provides an unused buffer to the kernel.
    fn add(&mut self, number: u16) {
        let entry = self.queue.as_ptr().wrapping_add((self.tail % BUFFERS).into());
        // SAFETY: the entry is in the queue, of which the kernel reads only up to the tail.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.start(number) as u64);
        entry.set_len(self.buffer as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the kernel only reads this field of the mapped queue, and nothing else writes it.
        unsafe { self.ring_tail.as_ref() }.store(self.tail, Release);
    }

    fn bytes(&self, buffer: &PoolBuffer) -> &[u8] {
        let start = self.start(buffer.number);
        // SAFETY: the kernel has filled `length` bytes of the buffer, and does not access it
        // while a `PoolBuffer` refers to it.
        unsafe { std::slice::from_raw_parts(start, buffer.length) }
    }

    fn start(&self, number: u16) -> *const u8 {
        let offset = usize::from(number) * self.buffer;
        self.memory.as_ptr().wrapping_add(offset)
    }
}

/// Maps memory that takes up space only where it is used.
fn map(length: usize) -> io::Result<NonNull<u8>> {
    let length = NonZero::new(length).ok_or(io::ErrorKind::InvalidInput)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: the kernel picks a free address.
    let memory = unsafe { mmap_anonymous(None, length, protection, flags) }?;
    Ok(memory.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_kernel_has_an_explanation() {
        let explanation = |errno| explain(&io::Error::from_raw_os_error(errno)).to_string();
        assert!(explanation(libc::EPERM).contains("io_uring_disabled"));
        assert!(explanation(libc::ENOSYS).contains("no io_uring"));
        assert!(explanation(libc::EINVAL).contains("Linux 6.1"));
        assert!(explanation(libc::ENOMEM).contains("`ulimit -l`"));
    }
}
