//! Sockets: `accept4(2)`, `recv(2)`, `shutdown(2)`.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::check;

/// Whether the accepted socket blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// Its reads and writes wait.
    Yes,
    /// They return EAGAIN instead.
    No,
}

/// Takes a connection; the flag spares a call, since O_NONBLOCK is not inherited.
pub fn accept4(listener: BorrowedFd, blocking: Blocking) -> io::Result<TcpStream> {
    let nonblocking = if blocking == Blocking::No {
        libc::SOCK_NONBLOCK
    } else {
        0
    };
    let flags = libc::SOCK_CLOEXEC | nonblocking;
    // SAFETY: a null address with a null length asks for no address.
    let fd = check(unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// Receives what there is, at most the capacity of `buffer`, in place of what it holds.
///
/// The standard library reads into memory that has been written to before only; clearing
/// a buffer for each connection costs as much as the rest of a short one.
pub fn receive(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    let room = buffer.spare_capacity_mut();
    let (pointer, length) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: the kernel writes at most `length` bytes to where there is room for them.
    let received = unsafe { libc::recv(stream.as_raw_fd(), pointer, length, 0) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: so many bytes of the capacity have been written to.
    unsafe { buffer.set_len(received) };
    Ok(received)
}

/// Ends both directions of a socket and wakes whoever is blocked on it.
///
/// By number, for signal handlers: a number that is no socket does no harm.
pub fn shutdown(socket: RawFd) {
    // SAFETY: takes numbers only; a wrong one is answered with an error.
    let _ = check(unsafe { libc::shutdown(socket, libc::SHUT_RDWR) });
}
