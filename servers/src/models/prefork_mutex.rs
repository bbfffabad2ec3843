//! # `prefork-mutex`: processes that take turns with a mutex
//!
//! What it is: `prefork-fcntl` with a mutex in shared memory instead of a file lock (UNP
//! design 4).
//!
//! The loop:
//! 1. a child locks the mutex;
//! 2. it accepts a connection, unlocks the mutex and echoes until the end of input;
//! 3. if the holder dies, the next child gets EOWNERDEAD, marks the mutex consistent and
//!    holds it; the parent replaces the dead child;
//! 4. at a stop, `accept` fails in the child that holds the mutex, then in the next one.
//!
//! What it costs: no system call for an uncontended mutex, otherwise one to wait and one to
//! wake the next child; the same as `prefork` per echo.
//!
//! When it wins: like `prefork-fcntl`, never on Linux. The lesson is that the mutex must be
//! robust: a plain one stays locked for ever when its holder dies, and accepting stops.
//!
//! Manual pages: pthread_mutexattr_setpshared(3), pthread_mutexattr_setrobust(3),
//! pthread_mutex_consistent(3), mmap(2) for MAP_SHARED, futex(7).
//!
//! Read next: `prefork-fdpass`.

use std::io;

use super::prefork::serve_with;
use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::mutex::RobustMutex;

pub struct PreforkMutex;

impl Model for PreforkMutex {
    fn name(&self) -> &'static str {
        "prefork-mutex"
    }

    fn family(&self) -> Family {
        Family::Process
    }

    fn summary(&self) -> &'static str {
        "child processes that take turns in accept with a shared mutex"
    }

    fn workers(&self) -> Workers {
        Workers::PerConnection
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let mutex = RobustMutex::new()?;
        serve_with(listener, config, self.workers().count(config), &|listener| {
            let _locked = mutex.lock()?;
            listener.accept()
        })
    }
}
