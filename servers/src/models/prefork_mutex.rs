//! # `prefork-mutex`: processes that take turns with a mutex
//!
//! What it is: `prefork-fcntl` with a mutex in memory that all processes share instead of
//! a lock of the file system (UNP design 4).
//!
//! The loop:
//! 1. a child takes the mutex;
//! 2. it accepts a connection, gives the mutex back and echoes until the end of input;
//! 3. when a child dies that has the mutex, the next one is told so (EOWNERDEAD), declares
//!    the mutex consistent and has it; the child is replaced;
//! 4. at a stop `accept` fails in the child that has the mutex, then in the next.
//!
//! What it costs: no system call where nobody else wants the mutex, one to wait for it and
//! one to wake who waits; per echo the same as `prefork`.
//!
//! When it wins: as `prefork-fcntl`, on Linux never. That it must be robust is the lesson:
//! a plain mutex whose holder dies is held for ever, and nobody is accepted any more.
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
            let _turn = mutex.lock()?;
            listener.accept()
        })
    }
}
