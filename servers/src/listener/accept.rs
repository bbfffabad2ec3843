//! Accept policy: what to do about each error of `accept`.
//!
//! An error concerns the new connection, the resources of the process, or the listener
//! itself. Each calls for a different remedy: retry, back off, or end.

use std::io;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use crate::stop;
use crate::sys::socket::{self, Blocking};

/// Pause after `accept` has run out of descriptors or memory. Retrying at once would
/// busy-loop, and ten milliseconds hardly matter to a client.
pub const BACK_OFF: Duration = Duration::from_millis(10);

/// What to do after an error of `accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Take the next connection: this one died in the queue.
    Next,
    /// Wait: the queue is empty.
    Wait,
    /// Pause for [`BACK_OFF`]: descriptors or memory have run out.
    BackOff,
    /// Drain: the server must stop.
    Stop,
    /// Return the error: the listener is broken.
    GiveUp,
}

/// Finds the remedy for an error of `accept`; reports exhausted resources, once.
pub fn remedy(error: &io::Error) -> Remedy {
    match error.raw_os_error() {
        // accept(2): Linux passes on pending network errors of the new socket. Treat them
        // like EAGAIN and retry.
        Some(
            libc::ECONNABORTED
            | libc::EINTR
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::EPERM,
        ) => Remedy::Next,
        // A Unix socket that is shut down says no more than that its queue is empty.
        Some(libc::EAGAIN) if stop::requested() => Remedy::Stop,
        Some(libc::EAGAIN) => Remedy::Wait,
        // The kernel checks for resources before it looks at the listener, so EINVAL would
        // never come.
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) if stop::requested() => Remedy::Stop,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            static REPORTED: Once = Once::new();
            REPORTED.call_once(|| {
                complain!("echo-server: {error}: accepting pauses until resources are free (reported once)");
            });
            Remedy::BackOff
        }
        // The error of a listener that the stop signal has shut down.
        Some(libc::EINVAL) if stop::follows_listener() => Remedy::Stop,
        _ => Remedy::GiveUp,
    }
}

/// Waits for a connection on a blocking listener; `None` when the server must stop.
pub(super) fn accept(listener: BorrowedFd) -> io::Result<Option<TcpStream>> {
    loop {
        let error = match socket::accept4(listener, Blocking::Yes) {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) => error,
        };
        match remedy(&error) {
            Remedy::Next | Remedy::Wait => {}
            Remedy::BackOff => thread::sleep(BACK_OFF),
            Remedy::Stop => return Ok(None),
            Remedy::GiveUp => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_accept_has_its_remedy() {
        let table = [
            (libc::ECONNABORTED, Remedy::Next),
            (libc::EPROTO, Remedy::Next),
            (libc::EINTR, Remedy::Next),
            (libc::EAGAIN, Remedy::Wait),
            (libc::EMFILE, Remedy::BackOff),
            (libc::ENFILE, Remedy::BackOff),
            (libc::ENOBUFS, Remedy::BackOff),
            (libc::ENOMEM, Remedy::BackOff),
            (libc::EBADF, Remedy::GiveUp),
            (libc::EINVAL, Remedy::GiveUp),
        ];
        for (errno, expected) in table {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(remedy(&error), expected, "{error}");
        }
    }
}
