//! # `monoio`: a runtime per core, on io_uring
//!
//! What it is: tasks that never leave their thread, on a runtime that hands operations
//! to the kernel instead of asking what is ready. Each thread has a ring and a listener
//! of its own, so that no two threads share anything. The kernel writes into the buffer
//! of a read at any time until it is done: the buffer goes in by value and comes back
//! with the result.
//!
//! The loop:
//! 1. on each thread, submit an accept and await it;
//! 2. spawn a task on the same thread that owns the connection;
//! 3. the task submits a read with its buffer, then a write of the same buffer;
//! 4. when no task can go on, one call submits all that was queued and waits.
//!
//! What it costs: a fraction of a system call per echo when busy; per connection a task
//! and, also when idle, the buffer of the read that is under way. A client stays with
//! the thread that accepted it, however busy that is.
//!
//! When it wins: many busy connections, alike, on many cores.
//!
//! Manual pages: io_uring(7), io_uring_enter(2), socket(7) on SO_REUSEPORT.
//!
//! Read next: `compio`.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::time::sleep;
use monoio::{IoUringDriver, RuntimeBuilder};

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::uring;
use crate::tasks::{self, Place, Tasks};

pub struct Monoio;

impl Model for Monoio {
    fn name(&self) -> &'static str {
        "monoio"
    }

    fn family(&self) -> Family {
        Family::Async
    }

    fn summary(&self) -> &'static str {
        "tasks on monoio: a runtime per core, on io_uring"
    }

    fn workers(&self) -> Workers {
        Workers::PerProcessor
    }

    fn probe(&self) -> io::Result<()> {
        uring::probe()
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        tasks::on_threads(listener, config, self.workers().count(config), |tasks, config| {
            let mut runtime = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?;
            runtime.block_on(accept(tasks, config))
        })
    }
}

async fn accept(tasks: Tasks, config: &Config) -> io::Result<()> {
    let incoming = TcpListener::from_std(tasks.socket()?)?;
    let accept = async || Ok(incoming.accept().await?.0);
    let spawn = |stream, place| drop(monoio::spawn(echo(place, stream, config.clone())));
    tasks.run(accept, sleep, spawn).await
}

/// Ends with the connection, for whatever reason it ends.
async fn echo(_place: Place, mut stream: TcpStream, config: Config) {
    let mut buffer = Vec::with_capacity(config.buffer);
    loop {
        let (read, input) = stream.read(buffer).await;
        let Ok(1..) = read else { return };
        config.work.perform_in_task(sleep).await;
        let (written, output) = stream.write_all(input).await;
        if written.is_err() {
            return;
        }
        buffer = output;
        buffer.clear();
    }
}
