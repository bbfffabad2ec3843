//! # `tokio-local`: a task per client on a runtime with one thread
//!
//! What it is: the tasks of `tokio`, line for line, on a runtime that stays on the
//! thread that started it. What differs from `tokio` in a measurement is therefore the
//! scheduler: no other thread to wake, nothing to steal, no lock that is contended.
//!
//! The loop:
//! 1. await a connection;
//! 2. spawn a task that owns it;
//! 3. the task awaits input, awaits the write of it, and at the end closes;
//! 4. when no task can go on, the thread itself waits in epoll for all of them.
//!
//! What it costs: what `epoll` costs, and a task and a buffer per connection. It uses
//! one processor, and work in one task makes all others wait.
//!
//! When it wins: one processor, or a process per processor; handlers that share data
//! and would rather not lock it.
//!
//! Manual pages: epoll(7); the runtime's own documentation on its current-thread
//! scheduler.
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
