//! Why a connection cannot go on.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

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

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::System(error)
    }
}
