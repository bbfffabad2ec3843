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
use std::thread::Builder;

use crate::config::Config;
use crate::listener::Listener;
use crate::stop;

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
    let others: anyhow::Result<Vec<_>> = (1..count).map(|_| first.join()).collect();
    let mut listeners = others.map_err(io::Error::other)?;
    stop::also_shut_down(listeners.iter().map(AsFd::as_fd));
    listeners.insert(0, first);

    let open = Arc::new(AtomicUsize::new(0));
    let loops: io::Result<Vec<_>> = listeners
        .iter()
        .map(|listener| prepare(listener, Arc::clone(&open)))
        .collect();
    let loops = loops?;

    let ready = ReadyCount::new(count);
    let (ended, results) = channel();
    for (listener, serve) in listeners.into_iter().zip(loops) {
        let (config, ready, ended) = (config.clone(), ready.clone(), ended.clone());
        // Not scoped: if one loop fails, this function returns, and the process ends with
        // the other loops.
        Builder::new().spawn(move || {
            let serve = AssertUnwindSafe(|| serve(listener, &config, ready));
            let result = panic::catch_unwind(serve);
            // The receiver is gone after another loop has failed.
            let _ = ended.send(result.unwrap_or_else(|_| Err(io::Error::other("an event loop panicked"))));
        })?;
    }
    drop(ended);
    results.iter().collect()
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
