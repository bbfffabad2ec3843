//! Sockets: `accept4(2)`, `shutdown(2)`.

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

/// Hands a socket to a runtime whose listener can be made from a number only.
#[cfg(feature = "glommio")]
pub fn adopt<Socket: FromRawFd>(socket: OwnedFd) -> Socket {
    let number = std::os::fd::IntoRawFd::into_raw_fd(socket);
    // SAFETY: the descriptor is open, and nobody else owns it any more.
    unsafe { Socket::from_raw_fd(number) }
}

/// Ends both directions of a socket and wakes whoever is blocked on it.
///
/// By number, for signal handlers: a number that is no socket does no harm.
pub fn shutdown(socket: RawFd) {
    // SAFETY: takes numbers only; a wrong one is answered with an error.
    let _ = check(unsafe { libc::shutdown(socket, libc::SHUT_RDWR) });
}
