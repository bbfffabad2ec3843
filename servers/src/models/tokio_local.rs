//! # `tokio-local`: a task per client on a single-threaded runtime
//!
//! What it is: the tasks of `tokio`, line for line, on a runtime that stays on the thread that
//! started it. A difference from `tokio` in a measurement is therefore due to the scheduler:
//! no other thread to wake, nothing to steal, no contended lock.
//!
//! The loop:
//! 1. await a connection;
//! 2. spawn a task that owns it;
//! 3. the task awaits input, awaits the write, and closes at the end;
//! 4. when no task is runnable, the thread itself waits in epoll for all of them.
//!
//! What it costs: the same as `epoll`, and a task and a buffer per connection. It uses one
//! processor, and work in one task delays all others.
//!
//! When it wins: a single processor, or a process per processor; handlers that share data and
//! should not need locks.
//!
//! Manual pages: epoll(7); the runtime's documentation on its current-thread scheduler.
//!
//! Read next: `smol`.

use std::io;

use tokio::runtime::Builder;

use super::tokio::serve_on;
use crate::config::Config;
use crate::listener::Listener;
use crate::model::{Family, Model};

pub struct TokioLocal;

impl Model for TokioLocal {
    fn name(&self) -> &'static str {
        "tokio-local"
    }

    fn family(&self) -> Family {
        Family::Async
    }

    fn summary(&self) -> &'static str {
        "tasks on tokio's current-thread runtime"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        serve_on(
            Builder::new_current_thread().enable_all().build()?,
            listener,
            config,
        )
    }
}
