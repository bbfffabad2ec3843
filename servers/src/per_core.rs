//! Several loops in one server: a thread each, and a listener each on the same address.
//!
//! The kernel decides by a hash of the addresses which listener, and so which loop, gets
//! a connection; the loops share nothing but the count of what is open.

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

/// Loops that have not begun yet: the last of them says that the server is ready.
#[derive(Debug, Clone)]
pub struct Beginning(Arc<AtomicUsize>);

impl Beginning {
    /// Of so many loops.
    pub fn of(loops: usize) -> Self {
        Beginning(Arc::new(AtomicUsize::new(loops)))
    }

    /// Says that one has all that it needs to answer connections.
    pub fn complete(&self, listener: &Listener) -> io::Result<()> {
        match self.0.fetch_sub(1, SeqCst) {
            1 => listener.announce(),
            _ => Ok(()),
        }
    }
}

/// Runs `count` loops until all have drained, or until one fails.
///
/// `prepare` makes a loop, and with it all that it needs: once clients come, they may
/// have taken the last descriptor. What it returns serves the clients of that listener
/// until it is shut down, after it has completed its beginning. The counter is for
/// [`Listener::admits`]: it counts the open connections of all loops.
pub fn run<P, S>(first: Listener, config: &Config, count: usize, prepare: P) -> io::Result<()>
where
    P: Fn(&Listener, Arc<AtomicUsize>) -> io::Result<S>,
    S: FnOnce(Listener, &Config, Beginning) -> io::Result<()> + Send + 'static,
{
    let others: anyhow::Result<Vec<_>> = (1..count).map(|_| first.join()).collect();
    let mut listeners = others.map_err(io::Error::other)?;
    stop::shuts_also(listeners.iter().map(AsFd::as_fd));
    listeners.insert(0, first);

    let open = Arc::new(AtomicUsize::new(0));
    let loops: io::Result<Vec<_>> = listeners
        .iter()
        .map(|listener| prepare(listener, Arc::clone(&open)))
        .collect();
    let loops = loops?;

    let beginning = Beginning::of(count);
    let (ended, ends) = channel();
    for (listener, serve) in listeners.into_iter().zip(loops) {
        let (config, beginning, ended) = (config.clone(), beginning.clone(), ended.clone());
        // Not scoped: when this function returns because one has failed, the process
        // ends, and the others with it.
        Builder::new().spawn(move || {
            let serve = AssertUnwindSafe(|| serve(listener, &config, beginning));
            let result = panic::catch_unwind(serve);
            // Nobody listens any more once another has failed.
            let _ = ended.send(result.unwrap_or_else(|_| Err(io::Error::other("a loop has panicked"))));
        })?;
    }
    drop(ended);
    ends.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Options;
    use crate::work::Work;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    /// Three loops, of which one does `what` and the others go on for ever.
    fn run_with_one_that(what: fn() -> io::Result<()>) -> io::Error {
        let listener = Listener::bind(&Options {
            address: "127.0.0.1:0".parse().unwrap(),
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
            Ok(move |_: Listener, _: &Config, _: Beginning| {
                if is_first.swap(false, SeqCst) {
                    return what();
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
        let error = run_with_one_that(|| Err(io::Error::other("out of order")));
        assert_eq!(error.to_string(), "out of order");
    }

    #[test]
    fn a_loop_that_panics_ends_the_server() {
        let error = run_with_one_that(|| panic!("on purpose"));
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
