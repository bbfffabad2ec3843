//! # `prefork-fcntl`: processes that take turns with a file lock
//!
//! What it is: `prefork` with a lock around `accept`: one child blocks in `accept`, the others
//! wait for the lock (UNP design 3). Some kernels needed it, because they woke every child
//! for each client or did not support several processes in `accept`. Linux does not.
//!
//! The loop:
//! 1. a child takes the lock, a record lock on an anonymous file;
//! 2. it accepts a connection, releases the lock and echoes until the end of input;
//! 3. the kernel releases the lock of a child that dies, and the parent replaces the child;
//! 4. at a stop, `accept` fails in the child that holds the lock, then in the next one.
//!
//! What it costs: two more system calls per connection than `prefork`, and a switch to the
//! next lock holder; the same per echo.
//!
//! When it wins: never on Linux. It shows how the lock behaves: a record lock belongs to a
//! process, while a flock(2) lock belongs to the open file, which all children share.
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
            let _locked = lock.lock()?;
            listener.accept()
        })
    }
}
