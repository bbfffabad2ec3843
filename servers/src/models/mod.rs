//! The models: one file each, and their registry.
//!
//! Read in this order they are a course: each file ends by naming the next.

mod aio;
#[cfg(feature = "compio")]
mod compio;
mod epoll;
mod epoll_et;
mod epoll_multi;
mod epoll_pool;
mod fork;
#[cfg(feature = "glommio")]
mod glommio;
mod iterative;
#[cfg(feature = "monoio")]
mod monoio;
mod poll;
mod pool;
mod prefork;
mod prefork_fcntl;
mod prefork_fdpass;
mod prefork_mutex;
mod prethread;
mod select;
mod sigio;
#[cfg(feature = "smol")]
mod smol;
mod spin;
mod splice;
mod thread;
mod thread_duplex;
mod tokio;
mod tokio_local;
mod udp;
mod uring;
mod uring_multi;

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use crate::config::{Config, Workers};
use crate::listener::{Listener, Transport};

/// Every model of this build, in reading order.
pub static MODELS: &[&dyn Model] = &[
    &iterative::Iterative,
    &fork::Fork,
    &prefork::Prefork,
    &prefork_fcntl::PreforkFcntl,
    &prefork_mutex::PreforkMutex,
    &prefork_fdpass::PreforkFdpass,
    &thread::Thread,
    &prethread::Prethread,
    &pool::Pool,
    &thread_duplex::ThreadDuplex,
    &splice::Splice,
    &spin::Spin,
    &select::Select,
    &poll::Poll,
    &epoll::Epoll,
    &epoll_et::EpollEt,
    &epoll_pool::EpollPool,
    &epoll_multi::EpollMulti,
    &sigio::Sigio,
    &aio::Aio,
    &uring::Uring,
    &uring_multi::UringMulti,
    &tokio::Tokio,
    &tokio_local::TokioLocal,
    #[cfg(feature = "smol")]
    &smol::Smol,
    #[cfg(feature = "monoio")]
    &monoio::Monoio,
    #[cfg(feature = "compio")]
    &compio::Compio,
    #[cfg(feature = "glommio")]
    &glommio::Glommio,
    &udp::Udp,
];

/// The models that this build leaves out. The cargo feature that brings one in has its
/// name.
pub static NOT_BUILT: &[&str] = &[
    #[cfg(not(feature = "smol"))]
    "smol",
    #[cfg(not(feature = "monoio"))]
    "monoio",
    #[cfg(not(feature = "compio"))]
    "compio",
    #[cfg(not(feature = "glommio"))]
    "glommio",
];

/// A design of an echo server.
pub trait Model: Sync {
    /// What is typed: `epoll`.
    fn name(&self) -> &'static str;

    /// The kind of concurrency it is built on.
    fn family(&self) -> Family;

    /// One line that says what it is.
    fn summary(&self) -> &'static str;

    /// What it speaks; the command line binds its socket accordingly.
    fn transport(&self) -> Transport {
        Transport::Stream
    }

    /// What its workers are.
    fn workers(&self) -> Workers {
        Workers::Fixed
    }

    /// How many connections it serves at the same time, where its design sets a limit.
    fn at_once(&self, config: &Config) -> Option<usize> {
        let workers = self.workers();
        (workers == Workers::PerConnection).then(|| workers.count(config))
    }

    /// The first descriptor that it cannot watch, where its design sets a limit.
    fn descriptor_limit(&self) -> Option<RawFd> {
        None
    }

    /// Finds out whether this host can run it; the error says why not.
    fn probe(&self) -> io::Result<()> {
        Ok(())
    }

    /// Serves until the listener is shut down, then drains and returns.
    ///
    /// Calls [`Listener::announce`] once connections will be answered. An error is
    /// the server's own; whatever a client does is none.
    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()>;
}

/// The kind of concurrency that a model is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Processes.
    Process,
    /// Threads.
    Thread,
    /// One loop that is told what is ready.
    Readiness,
    /// One loop that is told by signals.
    Signal,
    /// One loop that is told what is done.
    Completion,
    /// Tasks on a runtime.
    Async,
    /// Messages without connections.
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

/// The model of that name.
pub fn find(name: &str) -> Option<&'static dyn Model> {
    MODELS.iter().copied().find(|model| model.name() == name)
}

/// Why the model of that name is not in this build, if there is one.
pub fn left_out(name: &str) -> Option<String> {
    NOT_BUILT
        .contains(&name)
        .then(|| format!("this build leaves it out: build with `cargo ... --features {name}`"))
}
