//! What the async models share: how tasks start and end, on any runtime.
//!
//! A model passes in the `accept`, the timer and the `spawn` of its runtime. If each thread
//! has its own runtime, each also has its own listener, and the kernel distributes the
//! connections. Runtimes have different types for TCP and Unix sockets, so a model has two
//! listeners to choose from and one task for the streams of both.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::Config;
use crate::listener::{self, BACK_OFF, Listener, Remedy};
use crate::per_core::{self, ReadyCount};
use crate::stop;

/// The listener of one runtime, and the tasks that serve its clients.
#[derive(Debug)]
pub struct Tasks {
    listener: Listener,
    ready: ReadyCount,
    /// The tasks of this runtime, which it waits for at the end.
    own: TaskTracker,
    /// The number of tasks on all runtimes, for the connection limit.
    all: Arc<AtomicUsize>,
}

/// The listening socket, for the listener of a runtime.
#[derive(Debug)]
pub enum Socket {
    /// Listens on an IP address.
    Tcp(TcpListener),
    /// Listens on a path.
    Unix(UnixListener),
}

/// Counts a task that serves a client, until it is dropped.
#[derive(Debug)]
pub struct TaskGuard {
    _own: TaskTrackerToken,
    all: Arc<AtomicUsize>,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Relaxed);
    }
}

impl Tasks {
    /// For a model with a single runtime.
    pub fn new(listener: Listener) -> Self {
        Tasks {
            listener,
            ready: ReadyCount::new(1),
            own: TaskTracker::new(),
            all: Arc::default(),
        }
    }

    /// The socket, for the runtime's own listener.
    pub fn socket(&self) -> io::Result<Socket> {
        let socket = self.listener.socket().try_clone()?;
        Ok(match self.listener.is_unix() {
            true => Socket::Unix(OwnedFd::from(socket).into()),
            false => Socket::Tcp(socket),
        })
    }

    /// Accepts until the stop, then waits for the tasks until the drain time is over.
    ///
    /// The remaining tasks end with the runtime, which the caller drops.
    pub async fn run<Stream, Accepting, Sleeping>(
        self,
        accept: impl Fn() -> Accepting,
        sleep: impl Fn(Duration) -> Sleeping,
        spawn: impl Fn(Stream, TaskGuard),
    ) -> io::Result<()>
    where
        Accepting: Future<Output = io::Result<Stream>>,
        Sleeping: Future,
    {
        self.ready.count_down(&self.listener)?;
        loop {
            let error = match until_stop(accept()).await {
                Some(Ok(stream)) => {
                    if let Some(guard) = self.try_add() {
                        spawn(stream, guard);
                    }
                    continue;
                }
                Some(Err(error)) => error,
                None => break,
            };
            match listener::remedy(&error) {
                Remedy::Next | Remedy::Wait => {}
                Remedy::BackOff => drop(sleep(BACK_OFF).await),
                Remedy::Stop => break,
                Remedy::GiveUp => return Err(error),
            }
        }
        self.own.close();
        let mut all_ended = pin!(self.own.wait());
        let mut time_out = pin!(sleep(stop::drain_left()));
        poll_fn(|context| match all_ended.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => time_out.as_mut().poll(context).map(drop),
        })
        .await;
        Ok(())
    }

    fn try_add(&self) -> Option<TaskGuard> {
        self.listener.try_add(&self.all).then(|| TaskGuard {
            _own: self.own.token(),
            all: Arc::clone(&self.all),
        })
    }
}

/// The result of an `accept`, or `None` once the server must stop.
///
/// A stop wakes the task. But a nonblocking `accept` on a Unix socket still gets EAGAIN, and the
/// runtime would keep waiting.
async fn until_stop<Accepting: Future>(accepting: Accepting) -> Option<Accepting::Output> {
    let mut accepting = pin!(accepting);
    poll_fn(|context| match accepting.as_mut().poll(context) {
        Poll::Pending if stop::requested() => Poll::Ready(None),
        accepted => accepted.map(Some),
    })
    .await
}

/// Runs one runtime per thread; the first error ends them all.
pub fn on_threads(
    listener: Listener,
    config: &Config,
    threads: usize,
    runtime: fn(Tasks, &Config) -> io::Result<()>,
) -> io::Result<()> {
    per_core::run(listener, config, threads, |_, all| {
        Ok(move |listener, config: &Config, ready| {
            let tasks = Tasks {
                listener,
                ready,
                own: TaskTracker::new(),
                all,
            };
            runtime(tasks, config)
        })
    })
}
