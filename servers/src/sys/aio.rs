//! POSIX asynchronous input and output: `aio_read(3)`, `aio_write(3)`, `aio_error(3)`,
//! `aio_return(3)`, `aio_suspend(3)`, `aio_init(3)`.
//!
//! The C library implements it with threads. `nix` is no help here: its requests borrow
//! their buffer and do not return it, so a program cannot write what it has read.

use std::ffi::c_void;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::{Deref, Range};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::task::Poll;

use super::errno::check;

/// The signal that reports a finished request. Every thread must block it.
///
/// Not a real-time signal: those need room in a queue, and when it is full
/// (RLIMIT_SIGPENDING) glibc overwrites the result of the request with EAGAIN and loses the
/// bytes. A standard signal never fails. It merges with pending ones, so it reports only
/// that some request is done.
pub const DONE: i32 = libc::SIGUSR1;

/// Sets how many requests the C library runs at once; further ones wait.
///
/// Call it before the first request. The default of glibc is 20 threads.
#[cfg(target_env = "gnu")]
pub fn set_threads(threads: usize) {
    /// `struct aioinit` of `aio.h`.
    #[repr(C)]
    struct AioInit {
        threads: libc::c_int,
        expected_requests: libc::c_int,
        unused: [libc::c_int; 4],
        /// Seconds until an idle thread ends; 0 means the default of 1.
        idle_time: libc::c_int,
        reserved: libc::c_int,
    }
    unsafe extern "C" {
        fn aio_init(init: *const AioInit);
    }
    let threads = threads.try_into().unwrap_or(libc::c_int::MAX);
    let init = AioInit {
        threads,
        expected_requests: threads,
        unused: [0; 4],
        idle_time: 0,
        reserved: 0,
    };
    // SAFETY: `init` has the layout of `struct aioinit` and is only read during the call.
    unsafe { aio_init(&init) };
}

/// Other C libraries have no such limit.
#[cfg(not(target_env = "gnu"))]
pub fn set_threads(_: usize) {}

/// A socket and its buffer, with at most one request.
///
/// Dropping it shuts the connection down and waits for the request, which may still use the
/// buffer: `aio_cancel` has no effect on a running request.
#[derive(Debug)]
pub struct Transfer<S: Deref<Target = TcpStream>> {
    socket: S,
    buffer: Vec<u8>,
    /// A raw pointer to the heap, because the C library writes to it at any time.
    control: NonNull<libc::aiocb>,
    pending: bool,
}

impl<S: Deref<Target = TcpStream>> Transfer<S> {
    /// Without a request. Each moves up to as many bytes as the buffer has.
    pub fn new(socket: S, buffer: Vec<u8>) -> Self {
        Transfer {
            socket,
            buffer,
            control: NonNull::from(Box::leak(Box::new(control_block()))),
            pending: false,
        }
    }

    /// Requests input, up to the capacity of the buffer, whose content it replaces.
    pub fn read(&mut self) -> io::Result<()> {
        assert!(!self.pending, "one request at a time");
        self.buffer.clear();
        let room = self.buffer.spare_capacity_mut();
        let (start, length) = (room.as_mut_ptr().cast(), room.len());
        self.submit(start, length, libc::aio_read)
    }

    /// Requests a write of part of what was read.
    pub fn write(&mut self, part: Range<usize>) -> io::Result<()> {
        assert!(!self.pending, "one request at a time");
        let part = &mut self.buffer[part];
        let (start, length) = (part.as_mut_ptr().cast(), part.len());
        self.submit(start, length, libc::aio_write)
    }

    /// The number of bytes transferred, once the request is done.
    pub fn result(&mut self) -> Poll<io::Result<usize>> {
        if !self.pending {
            return Poll::Pending;
        }
        // SAFETY: the block belongs to a request whose result is not taken yet.
        let error = unsafe { libc::aio_error(self.control.as_ptr()) };
        if error == libc::EINPROGRESS {
            return Poll::Pending;
        }
        self.pending = false;
        // SAFETY: the request is done, and its result is taken only here, once.
        let moved = unsafe { libc::aio_return(self.control.as_ptr()) };
        if error != 0 {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        let moved = moved.unsigned_abs();
        if self.buffer.is_empty() {
            // SAFETY: it is empty only during a read, which has initialised this number of bytes.
            unsafe { self.buffer.set_len(moved) };
        }
        Poll::Ready(Ok(moved))
    }

    /// Submits a request on memory of the buffer, while none is pending.
    fn submit(
        &mut self,
        start: *mut c_void,
        length: usize,
        call: unsafe extern "C" fn(*mut libc::aiocb) -> libc::c_int,
    ) -> io::Result<()> {
        let mut control = control_block();
        control.aio_fildes = self.socket.as_raw_fd();
        control.aio_buf = start;
        control.aio_nbytes = length;
        control.aio_sigevent.sigev_notify = libc::SIGEV_SIGNAL;
        control.aio_sigevent.sigev_signo = DONE;
        // SAFETY: the block is allocated, and without a request only this function uses it.
        unsafe { self.control.write(control) };
        // SAFETY: block, buffer and socket stay in place until `result` reports that the
        // request is done: `read` and `write` refuse another one, and `drop` waits for it.
        check(unsafe { call(self.control.as_ptr()) })?;
        self.pending = true;
        Ok(())
    }
}

impl<S: Deref<Target = TcpStream>> Drop for Transfer<S> {
    fn drop(&mut self) {
        if self.pending {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        while self.pending && self.result().is_pending() {
            let list = [self.control.as_ptr().cast_const()];
            // SAFETY: a list with the block of one request; a null time-out waits for ever.
            unsafe { libc::aio_suspend(list.as_ptr(), 1, ptr::null()) };
        }
        // SAFETY: the pointer came from a box, and no request uses it any more.
        drop(unsafe { Box::from_raw(self.control.as_ptr()) });
    }
}

fn control_block() -> libc::aiocb {
    // SAFETY: a C struct of numbers and pointers, for which all zeros is valid: no offset,
    // which sockets lack, and no priority.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signal;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    fn pair() -> (TcpStream, Transfer<Box<TcpStream>>) {
        // Caught, since the signal would end the process. Ignored signals need no queue, so
        // ignoring it would defeat the test.
        signal::catch(DONE, nothing).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client, Transfer::new(Box::new(server), Vec::with_capacity(8)))
    }

    extern "C" fn nothing(_: i32) {}

    fn wait(transfer: &mut Transfer<Box<TcpStream>>) -> usize {
        loop {
            match transfer.result() {
                Poll::Ready(moved) => return moved.unwrap(),
                Poll::Pending => thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_full_signal_queue_does_not_lose_results() {
        let (_, hard) = getrlimit(Resource::RLIMIT_SIGPENDING).unwrap();
        setrlimit(Resource::RLIMIT_SIGPENDING, 0, hard).unwrap();
        let (mut client, mut transfer) = pair();
        transfer.read().unwrap();
        client.write_all(b"hello").unwrap();
        assert_eq!(wait(&mut transfer), 5);
        transfer.write(1..5).unwrap();
        assert_eq!(wait(&mut transfer), 4);
        let mut back = [0; 4];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"ello");
    }

    #[test]
    fn dropping_ends_a_pending_request() {
        let (mut client, mut transfer) = pair();
        transfer.read().unwrap();
        assert!(transfer.result().is_pending());
        drop(transfer);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    }
}
