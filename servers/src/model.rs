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

    /// What it takes of the host.
    fn demands(&self) -> Demands {
        Demands::default()
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

/// What a model takes of the host, beside the workers that it starts ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// Processes that it starts for each connection.
    pub processes_per_connection: usize,
    /// Threads that it starts for each connection.
    pub threads_per_connection: usize,
    /// Descriptors that a process has open for each of its connections.
    pub descriptors_per_connection: usize,
    /// Whether it is built on io_uring.
    pub io_uring: bool,
    /// Bytes of memory that a process must be allowed to lock (RLIMIT_MEMLOCK).
    pub lockable_bytes: u64,
}

impl Default for Demands {
    /// A descriptor for each connection.
    fn default() -> Self {
        Demands {
            processes_per_connection: 0,
            threads_per_connection: 0,
            descriptors_per_connection: 1,
            io_uring: false,
            lockable_bytes: 0,
        }
    }
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
