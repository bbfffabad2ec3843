//! Why a connection cannot go on.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use record::ErrorKind;

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum Failure {
    /// A system call failed.
    System(io::Error),
    /// The generator detected it.
    Detected(ErrorKind, Cow<'static, str>),
    /// Something did not happen in time.
    TimedOut(&'static str, Duration),
}

impl Failure {
    /// The kind of error that it counts as.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Failure::System(error) => kind(error),
            Failure::Detected(kind, _) => *kind,
            Failure::TimedOut(..) => ErrorKind::TimedOut,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::System(error) => write!(f, "{error}"),
            Failure::Detected(_, example) => f.write_str(example),
            Failure::TimedOut(what, time) => write!(f, "{what} within {time:?}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::System(error)
    }
}

/// The kind of an error of the system.
fn kind(error: &io::Error) -> ErrorKind {
    match error.raw_os_error().map(Errno::from_raw) {
        // ENOENT: there is no Unix socket.
        Some(Errno::ECONNREFUSED | Errno::ENOENT) => ErrorKind::Refused,
        Some(Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED) => ErrorKind::Reset,
        Some(Errno::ETIMEDOUT) => ErrorKind::TimedOut,
        Some(Errno::EADDRNOTAVAIL) => ErrorKind::NoLocalPort,
        Some(Errno::EMFILE | Errno::ENFILE) => ErrorKind::TooManyOpenFiles,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_has_its_kind() {
        let table = [
            (Errno::ECONNREFUSED, ErrorKind::Refused),
            (Errno::ENOENT, ErrorKind::Refused),
            (Errno::ECONNRESET, ErrorKind::Reset),
            (Errno::EPIPE, ErrorKind::Reset),
            (Errno::ETIMEDOUT, ErrorKind::TimedOut),
            (Errno::EADDRNOTAVAIL, ErrorKind::NoLocalPort),
            (Errno::EMFILE, ErrorKind::TooManyOpenFiles),
            (Errno::EIO, ErrorKind::Other),
        ];
        for (errno, expected) in table {
            assert_eq!(kind(&errno.into()), expected);
        }
    }
}
