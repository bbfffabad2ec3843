//! What every model implements: the trait, and the families that models belong to.

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use crate::config::{Config, Workers};
use crate::listener::{Listener, Transport};

/// An echo server built on one concurrency design.
pub trait Model: Sync {
    /// The name on the command line: `epoll`.
    fn name(&self) -> &'static str;

    /// The kind of concurrency that it uses.
    fn family(&self) -> Family;

    /// A one-line description.
    fn summary(&self) -> &'static str;

    /// The transport; the command line binds its socket accordingly.
    fn transport(&self) -> Transport {
        Transport::Stream
    }

    /// What one worker is.
    fn workers(&self) -> Workers {
        Workers::Fixed
    }

    /// How many connections it serves at once, if the design sets a limit.
    fn at_once(&self, config: &Config) -> Option<usize> {
        let workers = self.workers();
        (workers == Workers::PerConnection).then(|| workers.count(config))
    }

    /// The first descriptor that it cannot watch, if the design sets a limit.
    fn descriptor_limit(&self) -> Option<RawFd> {
        None
    }

    /// Checks whether this host can run it; the error gives the reason if not.
    fn probe(&self) -> io::Result<()> {
        Ok(())
    }

    /// Serves until the listener is shut down, then drains and returns.
    ///
    /// Calls [`Listener::announce`] once it answers connections. An error is a fault of
    /// the server; clients cannot cause one.
    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()>;
}

/// The kind of concurrency that a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Processes.
    Process,
    /// Threads.
    Thread,
    /// An event loop driven by readiness.
    Readiness,
    /// An event loop driven by signals.
    Signal,
    /// An event loop driven by completions.
    Completion,
    /// Tasks on an async runtime.
    Async,
    /// Datagrams, without connections.
    Datagram,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Family::Process => "process",
            Family::Thread => "thread",
            Family::Readiness => "readiness",
            Family::Signal => "signal",
            Family::Completion => "completion",
            Family::Async => "async",
            Family::Datagram => "datagram",
        })
    }
}
