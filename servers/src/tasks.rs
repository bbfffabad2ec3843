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
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::thread::{self, Builder};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::listener::{self, BACK_OFF, Listener, Remedy};
use crate::stop;

/// The listener of one runtime, and the tasks that serve its clients.
#[derive(Debug)]
pub struct Tasks {
    listener: Listener,
    /// Those of this runtime, which it waits for at the end.
    own: TaskTracker,
    /// Those of all runtimes, which the limit of connections counts.
    all: TaskTracker,
    /// Runtimes that do not accept yet.
    starting: Arc<AtomicUsize>,
}

/// Counts a task as one that serves a client, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: TaskTrackerToken,
    _all: TaskTrackerToken,
}

impl Tasks {
    /// For a model with a single runtime.
    pub fn new(listener: Listener) -> Self {
        Tasks {
            listener,
            own: TaskTracker::new(),
            all: TaskTracker::new(),
            starting: Arc::new(AtomicUsize::new(1)),
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
        if self.starting.fetch_sub(1, SeqCst) == 1 {
            self.listener.announce()?;
        }
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
        // Which tells the other threads to stop as well.
        drop(self.listener);
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
        // Taken before it is counted: two threads must not both take the last one.
        let place = Place {
            _own: self.own.token(),
            _all: self.all.token(),
        };
        self.listener.admits(self.all.len() - 1).then_some(place)
    }
}

/// Runs a runtime on each of `threads` threads; the first error ends them all.
pub fn on_threads(
    listener: Listener,
    threads: usize,
    runtime: impl Fn(Tasks) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let all = TaskTracker::new();
    let starting = Arc::new(AtomicUsize::new(threads));
    let listeners = listener.split(threads)?;
    let run = |listener| {
        let tasks = Tasks {
            listener,
            own: TaskTracker::new(),
            all: all.clone(),
            starting: Arc::clone(&starting),
        };
        runtime(tasks).inspect_err(|_| stop::request())
    };
    thread::scope(|scope| {
        let mut listeners = listeners.into_iter();
        let first = listeners.next();
        let mut others = Vec::new();
        for listener in listeners {
            let thread = Builder::new().spawn_scoped(scope, || run(listener));
            others.push(thread.inspect_err(|_| stop::request())?);
        }
        let result = first.map_or(Ok(()), run);
        others
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .fold(result, Result::and)
    })
}
