//! One event loop per core: each has a thread and a listener on the same address.
//!
//! The kernel picks the listener of a new connection by a hash of the addresses. The loops
//! share nothing but the counter of open connections, and over a Unix socket the listener: the
//! first loop that is free accepts.

use std::io;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;

use crate::config::Config;
use crate::listener::Listener;
use crate::stop;
use crate::sys::thread::spawn_detached;
use crate::workers::{self, LOOP_STACK_BYTES};

/// Counts the event loops that have not started yet. The last one prints the ready line.
#[derive(Debug, Clone)]
pub struct ReadyCount(Arc<AtomicUsize>);

impl ReadyCount {
    /// A count of this number of loops.
    pub fn new(loops: usize) -> Self {
        ReadyCount(Arc::new(AtomicUsize::new(loops)))
    }

    /// Records that one loop has all that it needs to answer connections.
    pub fn count_down(&self, listener: &Listener) -> io::Result<()> {
        match self.0.fetch_sub(1, SeqCst) {
            1 => listener.announce(),
            _ => Ok(()),
        }
    }

    /// The number of loops that have not started yet.
    fn left(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// Runs `count` event loops until all have drained, or until one fails.
///
/// `prepare` builds a loop with all its resources, before clients can use up the
/// descriptors. The loop that it returns counts down when it is ready, then serves the clients of
/// its listener until that is shut down. The counter holds the open connections of all
/// loops, for [`Listener::try_add`].
pub fn run<P, S>(first: Listener, config: &Config, count: usize, prepare: P) -> io::Result<()>
where
    P: Fn(&Listener, Arc<AtomicUsize>) -> io::Result<S>,
    S: FnOnce(Listener, &Config, ReadyCount) -> io::Result<()> + Send + 'static,
{
    // First, so that no loop takes the memory that the thread of another one needs.
    workers::check(count, LOOP_STACK_BYTES)?;
    let mut listeners = Vec::new();
    for started in 1..count {
        listeners.push(first.join().map_err(|error| not_joined(started, count, error))?);
    }
    stop::also_shut_down(listeners.iter().map(AsFd::as_fd));
    listeners.insert(0, first);

    let open = Arc::new(AtomicUsize::new(0));
    let mut loops = Vec::new();
    for listener in &listeners {
        let prepared = prepare(listener, Arc::clone(&open));
        loops.push(prepared.map_err(|error| workers::too_many(loops.len(), count, error))?);
    }

    let ready = ReadyCount::new(count);
    let (ended, results) = channel();
    for (started, (listener, serve)) in listeners.into_iter().zip(loops).enumerate() {
        let (config, ready, ended) = (config.clone(), ready.clone(), ended.clone());
        // Not scoped: if one loop fails, this function returns, and the process ends with
        // the other loops.
        let body = move || {
            let serve = AssertUnwindSafe(|| serve(listener, &config, ready));
            let result = panic::catch_unwind(serve);
            // The receiver is gone after another loop has failed.
            let _ = ended.send(result.unwrap_or_else(|_| Err(io::Error::other("an event loop panicked"))));
        };
        spawn_detached(LOOP_STACK_BYTES, body).map_err(|error| workers::too_many(started, count, error))?;
    }
    drop(ended);
    let result: io::Result<()> = results.iter().collect();
    // Before that, a loop fails because it does not get what it needs.
    result.map_err(|error| match ready.left() {
        0 => error,
        left => workers::too_many(count - left, count, error),
    })
}

/// The error of the system explains it; the rest only says which call failed.
fn not_joined(started: usize, count: usize, error: anyhow::Error) -> io::Error {
    match error.downcast::<io::Error>() {
        Ok(error) => workers::too_many(started, count, error),
        Err(error) => io::Error::other(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{Address, Options};
    use crate::work::Work;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    /// Runs three loops: one calls `end`, the others never return.
    fn run_with_one_loop_that(end: fn() -> io::Result<()>) -> io::Error {
        let listener = Listener::bind(&Options {
            address: Address::resolve("127.0.0.1:0").unwrap(),
            backlog: 16,
            keepalive: None,
            write_deadline: None,
            nodelay: true,
            max_connections: None,
        });
        let config = Config {
            workers: None,
            buffer: 1,
            work: Work::None,
        };
        let is_first = Arc::new(AtomicBool::new(true));
        let result = run(listener.unwrap(), &config, 3, |_, _| {
            let is_first = Arc::clone(&is_first);
            Ok(move |_: Listener, _: &Config, _: ReadyCount| {
                if is_first.swap(false, SeqCst) {
                    return end();
                }
                loop {
                    thread::park();
                }
            })
        });
        result.unwrap_err()
    }

    #[test]
    fn a_loop_that_fails_ends_the_server_with_its_error() {
        let error = run_with_one_loop_that(|| Err(io::Error::other("out of order")));
        assert_eq!(error.to_string(), "out of order");
    }

    #[test]
    fn a_loop_that_panics_ends_the_server() {
        let error = run_with_one_loop_that(|| panic!("on purpose"));
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
