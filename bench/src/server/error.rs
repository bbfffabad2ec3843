//! Why a server could not be started or stopped.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Time for a server to be ready: a model takes milliseconds, an interpreter on a loaded
/// machine takes seconds.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(10);

/// Why a server could not be started or stopped; the caller adds its standard error.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No process could be started.
    #[error("cannot start a process: {0}")]
    Spawn(io::Error),
    /// It cannot have its processors.
    #[error("the processors of the server cannot be chosen: {0}")]
    Pin(io::Error),
    /// The file for what it prints cannot be made.
    #[error("cannot write {}: {error}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// It ended before it was ready.
    #[error("the server ended before it was ready: {0}")]
    EndedEarly(ExitStatus),
    /// Its first process ended with status 0, and no other is left.
    #[error(
        "the command ended with exit status 0 before it listened on {0}, and left no process behind: the server must \
         be the command or a process that it starts, not one of a service"
    )]
    LeftNothing(SocketAddr),
    /// It did not listen.
    #[error("the server did not listen on {0} within {READY_WITHIN:?}: does it use the given port?")]
    NotListening(SocketAddr),
    /// It listened on another address.
    #[error("the server listens on {found} instead of {due}: it must use the given port")]
    Elsewhere {
        /// The address that it was given.
        due: SocketAddr,
        /// The addresses that it listens on.
        found: String,
    },
    /// Another process listens on its address.
    #[error(
        "the process that listens on {0} was not started by the command, or its descriptors cannot be read: the \
         server must be the command or a process that it starts, not one of a service"
    )]
    Stranger(SocketAddr),
    /// It did not print the ready line.
    #[error("the server was not ready within {READY_WITHIN:?}")]
    NotReady,
    /// It printed something else first.
    #[error("the server printed `{0}` instead of the line `ready ADDRESS`")]
    WrongLine(String),
    /// It ignored SIGTERM and was killed.
    #[error("the server did not stop within {0:?} of SIGTERM and was killed")]
    NotStopped(Duration),
}

/// The message has the error, so it is no source: a chain of errors would show it twice.
impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        ServerError::Spawn(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadgen::RunError;

    #[test]
    fn a_chain_of_errors_shows_each_cause_once() {
        let cause = || io::Error::from_raw_os_error(1);
        for error in [
            anyhow::Error::from(ServerError::from(cause())),
            ServerError::Pin(cause()).into(),
            ServerError::Log {
                path: "log".into(),
                error: cause(),
            }
            .into(),
            RunError::from(cause()).into(),
        ] {
            let shown = format!("{:#}", error.context("outermost"));
            assert_eq!(shown.matches("os error 1").count(), 1, "{shown}");
        }
    }
}
