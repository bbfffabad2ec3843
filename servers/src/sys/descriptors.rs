//! Passing descriptors to another process: `sendmsg(2)` with SCM_RIGHTS, unix(7).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// Sends a connection through `channel`. The sender still has to close its own descriptor.
pub fn send(channel: &UnixStream, stream: &TcpStream) -> io::Result<()> {
    // A message with a descriptor needs at least one byte of data.
    let byte = [IoSlice::new(&[0])];
    let fds = [stream.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<UnixAddr>(channel.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Waits for a connection; `None` when the other end has closed.
///
/// The kernel drops the descriptor, but not the byte, if this process has no free one. The
/// result is then EMFILE, and the connection is lost.
pub fn receive(channel: &UnixStream) -> io::Result<Option<TcpStream>> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(i32);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(channel.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs()?.next() else {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    };
    let [fd] = fds[..] else {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    };
    // SAFETY: the kernel has just created this descriptor, and it has no other owner.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_connection_arrives_and_the_end_of_the_channel_after_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        send(&ours, &listener.accept().unwrap().0).unwrap();
        drop(ours);
        receive(&theirs).unwrap().unwrap().write_all(b"passed").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "passed");
        assert!(receive(&theirs).unwrap().is_none());
    }
}
