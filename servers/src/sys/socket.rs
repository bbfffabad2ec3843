//! Sockets: `accept4(2)`, `recv(2)`, `recvfrom(2)`, `getsockopt(2)`, `shutdown(2)`.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use socket2::{SockAddr, SockAddrStorage, SockFilter, SockRef};

use super::errno::check;

/// Whether the accepted socket blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// Its reads and writes wait.
    Yes,
    /// They return EAGAIN instead.
    No,
}

/// Accepts a connection; the flag saves a call, since O_NONBLOCK is not inherited.
pub fn accept4(listener: BorrowedFd, blocking: Blocking) -> io::Result<TcpStream> {
    let nonblocking = if blocking == Blocking::No {
        libc::SOCK_NONBLOCK
    } else {
        0
    };
    let flags = libc::SOCK_CLOEXEC | nonblocking;
    // SAFETY: a null address with a null length requests no address.
    let fd = check(unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) })?;
    // SAFETY: the kernel has just created this descriptor, and it has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// Receives up to the capacity of `buffer`, and replaces its content.
///
/// The standard library reads only into initialised memory. Zeroing a buffer per connection
/// costs as much as the rest of a short connection.
pub fn receive(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    let room = buffer.spare_capacity_mut();
    let (pointer, length) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: the kernel writes at most `length` bytes, for which there is room.
    let received = unsafe { libc::recv(stream.as_raw_fd(), pointer, length, 0) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has initialised this number of bytes.
    unsafe { buffer.set_len(received) };
    Ok(received)
}

/// A received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Its full length, even if the buffer was shorter.
    pub length: usize,
    /// Its source; `None` if the socket is shut down and its queue empty.
    pub source: Option<SocketAddr>,
}

/// Waits for a datagram and stores as much of it as fits.
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
    // SAFETY: the kernel has written an address of this size, or none and a size of 0.
    let source = unsafe { SockAddr::new(storage, size) };
    Ok(Datagram {
        length,
        source: source.as_socket(),
    })
}

/// The number of datagrams that the kernel has dropped for this socket, because of a full
/// queue or a filter.
pub fn dropped(socket: BorrowedFd) -> io::Result<u32> {
    const PLACE: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut info = [0u32; PLACE + 1];
    let mut size = size_of_val(&info) as libc::socklen_t;
    let (fd, value) = (socket.as_raw_fd(), info.as_mut_ptr().cast());
    // SAFETY: the value and its size live across the call, and the size is right.
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, value, &mut size) })?;
    Ok(info[PLACE])
}

/// Closes the queue of a socket to new data; queued data stays.
pub fn admit_nothing(socket: BorrowedFd) -> io::Result<()> {
    /// A filter of one instruction: keep 0 bytes.
    const NONE: SockFilter = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    SockRef::from(&socket).attach_filter(&[NONE])
}

/// Shuts down the input of a socket and wakes its waiters: `accept` returns EINVAL, and a
/// datagram receiver gets the rest of the queue and then nothing. Output still works.
///
/// On a Unix socket `accept` first returns the connections in the queue, to which none is added
/// any more; then EINVAL if it blocks, and otherwise still EAGAIN.
///
/// Takes a number, for signal handlers: a number that is no socket does no harm.
pub fn shutdown_input(socket: RawFd) {
    // SAFETY: takes numbers only; a wrong one is an error. So is a datagram socket, which
    // has no peer, but its readers wake up.
    let _ = check(unsafe { libc::shutdown(socket, libc::SHUT_RD) });
}

/// Passes a socket to a runtime whose listener accepts only a raw descriptor.
#[cfg(feature = "glommio")]
pub fn adopt<Socket: FromRawFd>(socket: OwnedFd) -> Socket {
    let number = std::os::fd::IntoRawFd::into_raw_fd(socket);
    // SAFETY: the descriptor is open and has no other owner any more.
    unsafe { Socket::from_raw_fd(number) }
}

/// Shuts down both directions of a socket and wakes all blocked calls.
///
/// Takes a number, for signal handlers: a number that is no socket does no harm.
pub fn shutdown(socket: RawFd) {
    // SAFETY: takes numbers only; a wrong one is an error.
    let _ = check(unsafe { libc::shutdown(socket, libc::SHUT_RDWR) });
}
