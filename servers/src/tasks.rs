//! What the async models share: how tasks come to be and how they end, on any runtime.
//!
//! A runtime brings its own `accept`, timer and `spawn`, and a model hands them over.
//! Where each thread has a runtime, each has a listener too, and the kernel deals the
//! connections out.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::Config;
use crate::listener::{self, BACK_OFF, Listener, Remedy};
use crate::per_core::{self, Beginning};
use crate::stop;

/// The listener of one runtime, and the tasks that serve its clients.
#[derive(Debug)]
pub struct Tasks {
    listener: Listener,
    beginning: Beginning,
    /// Those of this runtime, which it waits for at the end.
    own: TaskTracker,
    /// How many there are on all runtimes, for the limit of connections.
    all: Arc<AtomicUsize>,
}

/// Counts a task as one that serves a client, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: TaskTrackerToken,
    all: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Relaxed);
    }
}

impl Tasks {
    /// For a model with a single runtime.
    pub fn new(listener: Listener) -> Self {
        Tasks {
            listener,
            beginning: Beginning::of(1),
            own: TaskTracker::new(),
            all: Arc::default(),
        }
    }

    /// The socket, for the runtime's own listener.
    pub fn socket(&self) -> io::Result<TcpListener> {
        self.listener.socket().try_clone()
    }

    /// Accepts until the stop, then waits for the tasks, at most for the drain time.
    ///
    /// What is left then ends with the runtime, which the caller drops.
    pub async fn run<Stream, Accepting, Sleeping>(
        self,
        accept: impl Fn() -> Accepting,
        sleep: impl Fn(Duration) -> Sleeping,
        spawn: impl Fn(Stream, Place),
    ) -> io::Result<()>
    where
        Accepting: Future<Output = io::Result<Stream>>,
        Sleeping: Future,
    {
        self.beginning.complete(&self.listener)?;
        loop {
            let error = match accept().await {
                Ok(stream) => {
                    if let Some(place) = self.place() {
                        spawn(stream, place);
                    }
                    continue;
                }
                Err(error) => error,
            };
            match listener::remedy(&error) {
                Remedy::Next | Remedy::Wait => {}
                Remedy::BackOff => drop(sleep(BACK_OFF).await),
                Remedy::Stop => break,
                Remedy::GiveUp => return Err(error),
            }
        }
        self.own.close();
        let mut ended = pin!(self.own.wait());
        let mut over = pin!(sleep(stop::left()));
        poll_fn(|context| match ended.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => over.as_mut().poll(context).map(drop),
        })
        .await;
        Ok(())
    }

    fn place(&self) -> Option<Place> {
        self.listener.counts_in(&self.all).then(|| Place {
            _own: self.own.token(),
            all: Arc::clone(&self.all),
        })
    }
}

/// Runs a runtime on each of so many threads; the first error ends them all.
pub fn on_threads(
    listener: Listener,
    config: &Config,
    threads: usize,
    runtime: fn(Tasks, &Config) -> io::Result<()>,
) -> io::Result<()> {
    per_core::run(listener, config, threads, |_, all| {
        Ok(move |listener, config: &Config, beginning| {
            let tasks = Tasks {
                listener,
                beginning,
                own: TaskTracker::new(),
                all,
            };
            runtime(tasks, config)
        })
    })
}
