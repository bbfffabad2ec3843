//! # `prefork-fcntl`: processes that take turns with a file lock
//!
//! What it is: `prefork` with a lock around `accept`, so that one child waits there and
//! the others wait for the lock (UNP design 3). Kernels that woke every child for each
//! client, or did not bear several in `accept`, made it necessary; Linux does not.
//!
//! The loop:
//! 1. a child takes the lock, a record lock on a file without a name;
//! 2. it accepts a connection, gives the lock back and echoes until the end of input;
//! 3. the lock of a child that dies is free at once, and the child is replaced;
//! 4. at a stop `accept` fails in the child that has the lock, then in the next.
//!
//! What it costs: two system calls per connection more than `prefork`, and the switch to
//! whoever waited for the lock; per echo the same.
//!
//! When it wins: on Linux never; it is here for what its lock does. A record lock belongs
//! to the process; one of flock(2) belongs to the open file and would be shared by all.
//!
//! Manual pages: fcntl(2) for F_SETLKW, flock(2), memfd_create(2).
//!
//! Read next: `prefork-mutex`.

use std::io;

use super::prefork::serve_with;
use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::record_lock::RecordLock;

pub struct PreforkFcntl;

impl Model for PreforkFcntl {
    fn name(&self) -> &'static str {
        "prefork-fcntl"
    }

    fn family(&self) -> Family {
        Family::Process
    }

    fn summary(&self) -> &'static str {
        "child processes that take turns in accept with a file lock"
    }

    fn workers(&self) -> Workers {
        Workers::PerConnection
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let lock = RecordLock::new()?;
        serve_with(listener, config, self.workers().count(config), &|listener| {
            let _turn = lock.lock()?;
            listener.accept()
        })
    }
}
