//! Sockets: `accept4(2)`, `recv(2)`, `recvfrom(2)`, `getsockopt(2)`, `shutdown(2)`.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use socket2::{SockAddr, SockAddrStorage, SockFilter, SockRef};

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

/// A datagram that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Its length, also of one that the buffer was too short for.
    pub length: usize,
    /// Who sent it; nobody, where the socket was shut down and nothing is queued.
    pub source: Option<SocketAddr>,
}

/// Waits for a datagram and takes as much of it as the buffer holds.
pub fn receive_from(socket: BorrowedFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut storage = SockAddrStorage::zeroed();
    let mut size = storage.size_of();
    let (data, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    let address = ptr::from_mut(&mut storage).cast();
    // SAFETY: buffer, address and size live across the call, with the lengths given.
    let length = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            data,
            room,
            libc::MSG_TRUNC,
            address,
            &mut size,
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written an address of that size, or none and a size of 0.
    let source = unsafe { SockAddr::new(storage, size) };
    Ok(Datagram {
        length,
        source: source.as_socket(),
    })
}

/// How many datagrams the kernel has dropped that were for this socket: for want of room
/// in its queue, or because a filter wanted it so.
pub fn dropped(socket: BorrowedFd) -> io::Result<u32> {
    const PLACE: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut info = [0u32; PLACE + 1];
    let mut size = size_of_val(&info) as libc::socklen_t;
    let (fd, value) = (socket.as_raw_fd(), info.as_mut_ptr().cast());
    // SAFETY: the value and its size live across the call, and the size is right.
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, value, &mut size) })?;
    Ok(info[PLACE])
}

/// Lets nothing more into the queue of a socket: what is there stays.
pub fn admit_nothing(socket: BorrowedFd) -> io::Result<()> {
    /// A program of one instruction: keep 0 bytes.
    const NONE: SockFilter = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    SockRef::from(&socket).attach_filter(&[NONE])
}

/// Ends what a socket takes in, and wakes whoever waits for it: `accept` finds EINVAL, a
/// receiver of datagrams the rest of the queue and then nothing. What is to be sent can
/// still be sent.
///
/// By number, for signal handlers: a number that is no socket does no harm.
pub fn shutdown_input(socket: RawFd) {
    // SAFETY: takes numbers only; a wrong one is answered with an error. So is a datagram
    // socket, which has no peer, and whose readers wake all the same.
    let _ = check(unsafe { libc::shutdown(socket, libc::SHUT_RD) });
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
