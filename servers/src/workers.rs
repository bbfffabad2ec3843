//! Threads that are started ahead: all that are asked for, or an error that says how many could be.

use std::io::{self, ErrorKind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clients::STACK_BYTES;
use crate::conn;
use crate::sys::thread::{spawn, spawn_detached};

/// Stack of a thread that runs an event loop or a runtime: that of the standard library's threads.
pub const LOOP_STACK_BYTES: usize = 2 << 20;

/// Memory kept back for what follows when there is no other left: the error, and the ends of the threads
/// that have started.
const RESERVE_BYTES: usize = 1 << 20;

/// Starts `count` threads. `prepare` gives each what it needs, so that once this returns all of
/// them can serve.
pub fn start<Worker: FnOnce() + Send + 'static>(
    count: usize,
    mut prepare: impl FnMut() -> io::Result<Worker>,
) -> io::Result<()> {
    let mut reserve = Some(conn::buffer(RESERVE_BYTES)?);
    for started in 0..count {
        prepare()
            .and_then(|worker| spawn_detached(STACK_BYTES, worker))
            .map_err(|error| {
                drop(reserve.take());
                too_many(started, count, error)
            })?;
    }
    Ok(())
}

/// Tests whether `count` threads with such a stack can run at the same time, for a library that starts
/// its own and does not say if it cannot.
pub fn check(count: usize, stack: usize) -> io::Result<()> {
    // Dropped last: the threads end when the channel closes.
    let mut threads = Vec::new();
    let (_open, closed) = channel::<()>();
    let closed = Arc::new(Mutex::new(closed));
    for started in 0..count {
        let closed = Arc::clone(&closed);
        let thread = spawn(stack, move || {
            let _ = closed.lock().unwrap_or_else(PoisonError::into_inner).recv();
        });
        threads.push(thread.map_err(|error| too_many(started, count, error))?);
    }
    Ok(())
}

/// Explains that only `started` workers of `count` get the resources that they need, and what to do. Other
/// errors are returned as they are.
pub fn too_many(started: usize, count: usize, error: io::Error) -> io::Error {
    let limit = match (error.raw_os_error(), error.kind()) {
        // pthread_create(3) also fails with EAGAIN if there is no memory for a stack.
        (Some(libc::EAGAIN), _) => {
            "the limit that is reached: of threads and processes (`ulimit -u`, pids.max of the \
             control group, sysctl kernel.threads-max and kernel.pid_max), or of memory (`ulimit -v`, \
             sysctl vm.max_map_count)"
        }
        (Some(libc::EMFILE), _) => "the limit of open files (`ulimit -n`)",
        (Some(libc::ENFILE), _) => "the limit of open files of this host (sysctl fs.file-max)",
        (_, ErrorKind::OutOfMemory) => "the limit of memory (`ulimit -v`, memory.max of the control group)",
        _ => return error,
    };
    let message = format!(
        "only {started} of {count} workers can be started: {error}: use fewer --workers, or raise {limit}"
    );
    io::Error::new(error.kind(), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_worker_is_prepared_and_runs() {
        let (sender, receiver) = channel();
        let mut number = 0;
        let started = start(3, || {
            let (own, sender) = (number, sender.clone());
            number += 1;
            Ok(move || sender.send(own).unwrap())
        });
        started.unwrap();
        let mut ran: Vec<_> = (0..3)
            .map(|_| receiver.recv_timeout(Duration::from_secs(60)).unwrap())
            .collect();
        ran.sort();
        assert_eq!(ran, [0, 1, 2]);
    }

    #[test]
    fn the_first_worker_that_cannot_start_is_named_with_the_limit_to_raise() {
        let mut left = 2;
        let error = start(5, || {
            left -= 1;
            match left {
                0 => Err(io::Error::from_raw_os_error(libc::EMFILE)),
                _ => Ok(|| {}),
            }
        });
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("only 1 of 5 workers")
                && error.contains("--workers")
                && error.contains("ulimit -n"),
            "{error}"
        );
    }

    #[test]
    fn threads_that_can_start_have_ended_after_the_check() {
        check(8, STACK_BYTES).unwrap();
    }
}
