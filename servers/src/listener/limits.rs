//! Limits: how many connections may be open, and what the operator learns about clients
//! that are rejected or have to wait.

use std::io;
use std::sync::Once;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicUsize};

use crate::sys::shared;

/// The limit of open connections, shared by all workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    max_connections: Option<usize>,
    /// Whether a worker has reported that the limit is reached. In shared memory, since
    /// workers may be processes.
    reported: &'static [AtomicU32],
}

impl Limit {
    pub(super) fn new(max_connections: Option<usize>) -> io::Result<Self> {
        Ok(Limit {
            max_connections,
            reported: shared::numbers(1)?,
        })
    }

    pub(super) fn max_connections(&self) -> Option<usize> {
        self.max_connections
    }

    /// Whether the limit permits one connection more than `open`.
    pub(super) fn admits(&self, open: usize) -> bool {
        let Some(max) = self.max_connections else {
            return true;
        };
        if open >= max && self.reported[0].swap(1, SeqCst) == 0 {
            complain!(
                "echo-server: {max} connections are open (--max-connections): new ones are closed at once"
            );
        }
        open < max
    }

    /// Adds a connection to the counter if the limit permits it.
    pub(super) fn try_add(&self, open: &AtomicUsize) -> bool {
        // Counted first, so that two event loops cannot both take the last place.
        let admitted = self.admits(open.fetch_add(1, Relaxed));
        if !admitted {
            open.fetch_sub(1, Relaxed);
        }
        admitted
    }
}

/// Reports, once, that the server rejects clients because it lacks a resource.
pub fn report_rejected(what: &str, error: &io::Error) {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| {
        complain!("echo-server: {what}: {error}: clients are rejected (reported once)");
    });
}

/// Reports, once, that more connections are `open` than the `workers` can serve.
pub fn report_waiting(open: usize, workers: usize) {
    static REPORTED: Once = Once::new();
    if open > workers {
        REPORTED.call_once(|| {
            complain!(
                "echo-server: all {workers} workers are busy: connection {open} is open but waits until \
                 another one ends (--workers sets the number of workers)"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_connection_is_not_counted() {
        let limit = Limit::new(Some(1)).unwrap();
        let open = AtomicUsize::new(0);
        assert!(limit.try_add(&open));
        assert!(!limit.try_add(&open));
        assert_eq!(open.load(Relaxed), 1);
    }

    #[test]
    fn without_a_limit_every_connection_is_admitted() {
        let limit = Limit::new(None).unwrap();
        assert!(limit.admits(usize::MAX - 1));
    }
}
